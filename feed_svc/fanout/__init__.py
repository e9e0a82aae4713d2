"""New videos on their way to followers: pushed into inboxes, or pulled from author timelines."""
