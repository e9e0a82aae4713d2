/** The operations the explorer opens with: one browser tab's worth of everything a frontend does. */
import { post, randomToken } from './api';

export interface Example {
  name: string;
  about: string;
  query: string;
  variables?: Record<string, unknown>;
}

/** Real ids to fill into the examples, so that they run as they stand. */
export interface Samples {
  videoId: string;
  userId: string;
  username: string;
}

const NO_SAMPLES: Samples = {
  videoId: 'paste a video id from the feed',
  userId: 'paste a user id from the feed',
  username: 'paste a username from the feed',
};

interface SampleAnswer {
  edges?: { node?: { id: string; author?: { id: string; username: string } | null } | null }[] | null;
}

export async function findSamples(): Promise<Samples> {
  try {
    const answer = await post({
      query: 'query ExplorerSamples { trending(first: 1) { edges { node { id author { id username } } } } }',
    });
    const video = (answer.data?.trending as SampleAnswer | null | undefined)?.edges?.[0]?.node;
    if (!video) return NO_SAMPLES;
    return {
      videoId: video.id,
      userId: video.author?.id ?? NO_SAMPLES.userId,
      username: video.author?.username ?? NO_SAMPLES.username,
    };
  } catch (error) {
    console.warn('no sample ids for the examples', error);
    return NO_SAMPLES;
  }
}

const ERRORS = 'userErrors { field message code }';

const FEED = `# Reelgraph's For You feed. Run it with the button, or Ctrl-Enter.
# It works logged out; "Log in" above makes it personal.
query Feed {
  feed(kind: FOR_YOU, first: 10) {
    snapshotId
    stale
    edges {
      cursor
      reason { kind text user { username } video { id caption } }
      node {
        id
        caption
        hashtags
        createdAt
        durationMs
        author { id username displayName avatarUrl followerCount viewerFollows }
        likeCount
        commentCount
        shareCount
        viewCount
        viewerHasLiked
        playback {
          hlsUrl
          posterUrl
          expiresAt
          renditions { width height codec bitrateKbps }
        }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`;

const FEED_PAGE = `# The next page of the same snapshot: "after" is the endCursor of the page before.
query FeedPage($kind: FeedKind!, $first: Int!, $after: String) {
  feed(kind: $kind, first: $first, after: $after) {
    snapshotId
    edges { cursor reason { kind text } node { id caption author { username } } }
    pageInfo { hasNextPage endCursor }
  }
}
`;

const ACCOUNT = `# The explorer uses the session that logIn or signUp gives, until LogOut.
mutation LogIn($logIn: LogInInput!) {
  logIn(input: $logIn) {
    accessToken
    refreshToken
    accessExpiresAt
    session { id device createdAt current }
    user { id username displayName }
    ${ERRORS}
  }
}

mutation SignUp($signUp: SignUpInput!) {
  signUp(input: $signUp) {
    accessToken
    refreshToken
    accessExpiresAt
    session { id device createdAt current }
    user { id username displayName }
    ${ERRORS}
  }
}

query Me {
  viewer {
    id
    user { id username displayName bio followerCount followingCount videoCount likeCount }
    unreadNotificationCount
    sessions { id device createdAt lastUsedAt current }
  }
}

mutation LogOut {
  logOut(input: {}) { revokedSessionId ${ERRORS} }
}
`;

const SEARCH = `# As you type: prefixes and small typos find videos, creators and hashtags.
query Search($query: String!, $types: [SearchType!]) {
  search(query: $query, types: $types, first: 10) {
    edges {
      cursor
      node {
        __typename
        ... on Video { id caption viewCount author { username } }
        ... on User { id username displayName followerCount }
        ... on Hashtag { id name videoCount }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`;

const PROFILE = `# A profile with its grid of videos.
query Profile($username: String!, $first: Int!, $after: String) {
  user(username: $username) {
    id
    username
    displayName
    bio
    avatarUrl
    followerCount
    followingCount
    videoCount
    likeCount
    viewerFollows
    followsViewer
    videos(first: $first, after: $after) {
      edges { node { id caption durationMs viewCount playback { posterUrl stillUrls } } }
      pageInfo { hasNextPage endCursor }
    }
  }
}
`;

const TRENDING = `# What many people watch now.
query Trending {
  trending(first: 10) {
    edges {
      node { id caption hashtags viewCount likeCount author { username } playback { hlsUrl posterUrl } }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`;

const UPLOAD = `# An upload in four steps. In a shell:
#   sha256sum clip.mp4; stat -c %s clip.mp4            -> sha256 and sizeBytes
#   curl -T part-1 -H "name: value" "<url of part 1>"   for each part, with its headers
# BeginUpload again gives fresh URLs and says which parts are there.
mutation BeginUpload($begin: BeginUploadInput!) {
  beginUpload(input: $begin) {
    upload {
      id
      state
      partSizeBytes
      expiresAt
      parts { number url sizeBytes received headers { name value } }
    }
    ${ERRORS}
  }
}

mutation CompleteUpload($uploadId: ID!) {
  completeUpload(input: { uploadId: $uploadId }) {
    upload { id state progressPercent failureCode failureReason }
    ${ERRORS}
  }
}

# Before or after READY; again, it is the same video.
mutation PublishVideo($uploadId: ID!, $caption: String!) {
  publishVideo(input: { uploadId: $uploadId, caption: $caption, visibility: PUBLIC, allowComments: true }) {
    video { id state caption hashtags shareUrl }
    ${ERRORS}
  }
}

query UploadState($uploadId: ID!) {
  upload(id: $uploadId) {
    id
    state
    progressPercent
    failureCode
    failureReason
    video { id state playback { hlsUrl } }
  }
}

subscription UploadProgressed($uploadId: ID!) {
  uploadProgressed(uploadId: $uploadId) { id state progressPercent failureReason video { id } }
}
`;

const COMMENT_ADDED = `# Waits for comments; add one in the tab LikeVideo (operation AddComment) of another browser tab.
# After a lost connection the explorer goes on from the last comment it saw.
subscription CommentAdded($videoId: ID!, $after: ID) {
  commentAdded(videoId: $videoId, after: $after) {
    id
    text
    createdAt
    author { id username avatarUrl }
    parent { id }
    likeCount
  }
}
`;

const NOTIFIED = `# Waits for likes, comments, follows and mentions. Needs a log-in.
subscription NotificationReceived($after: ID) {
  notificationReceived(after: $after) {
    id
    kind
    createdAt
    read
    actorCount
    actors { id username avatarUrl }
    video { id caption }
    comment { id text }
  }
}
`;

const ENGAGE = `# What a viewer does with a video. Needs a log-in; each may be repeated safely.
mutation LikeVideo($videoId: ID!) {
  likeVideo(input: { videoId: $videoId }) { video { id likeCount viewerHasLiked } ${ERRORS} }
}

mutation UnlikeVideo($videoId: ID!) {
  unlikeVideo(input: { videoId: $videoId }) { video { id likeCount viewerHasLiked } ${ERRORS} }
}

mutation AddComment($videoId: ID!, $text: String!) {
  addComment(input: { videoId: $videoId, text: $text }) {
    comment { id text createdAt author { username } video { id commentCount } }
    ${ERRORS}
  }
}

mutation FollowUser($userId: ID!) {
  followUser(input: { userId: $userId }) { user { id username followerCount viewerFollows } ${ERRORS} }
}

mutation UnfollowUser($userId: ID!) {
  unfollowUser(input: { userId: $userId }) { user { id username followerCount viewerFollows } ${ERRORS} }
}

mutation ShareVideo($videoId: ID!) {
  shareVideo(input: { videoId: $videoId, channel: LINK }) { shareUrl video { id shareCount } ${ERRORS} }
}

query Comments($videoId: ID!) {
  video(id: $videoId) {
    id
    caption
    comments(first: 20) {
      edges {
        node {
          id
          text
          createdAt
          likeCount
          viewerHasLiked
          author { username }
          replies(first: 3) { edges { node { id text author { username } } } }
        }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
}
`;

const WATCHES = `# Reported watches shape the next page of the feed. Each watchId counts once, however often it is sent.
mutation RecordWatches($watches: RecordWatchesInput!) {
  recordWatches(input: $watches) { acceptedCount ${ERRORS} }
}
`;

const NOTIFICATIONS = `# Needs a log-in.
query Notifications {
  viewer {
    id
    unreadNotificationCount
    notifications(first: 20) {
      edges {
        node {
          id
          kind
          createdAt
          read
          actorCount
          actors { username }
          video { id caption }
          comment { id text }
        }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
}

mutation MarkNotificationsRead($upToId: ID!) {
  markNotificationsRead(input: { upToId: $upToId }) { viewer { id unreadNotificationCount } ${ERRORS} }
}
`;

/** A UUID, as `watchId` wants it, also where `crypto.randomUUID` is not there. */
function uuid(): string {
  const hex = `${randomToken().slice(0, 12)}4${randomToken().slice(0, 3)}8${randomToken().slice(0, 15)}`;
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

export function examples({ videoId, userId, username }: Samples): Example[] {
  const watch = { watchId: uuid(), videoId, watchedMs: 4200, completed: true };
  const upload = { fileName: 'clip.mp4', contentType: 'video/mp4', sizeBytes: 1_048_576, sha256: '0'.repeat(64) };
  return [
    { name: 'Feed', about: 'For You: authors, counters, reasons, playback', query: FEED },
    { name: 'FeedPage', about: 'pages of FOR_YOU or FOLLOWING', query: FEED_PAGE, variables: { kind: 'FOLLOWING', first: 5, after: null } },
    {
      name: 'LogIn',
      about: 'sign up, log in, sessions, log out',
      query: ACCOUNT,
      variables: {
        logIn: { username: 'your_name', password: 'your password', device: 'API explorer' },
        signUp: { username: 'your_name', password: 'your password', displayName: 'Your Name' },
      },
    },
    { name: 'Search', about: 'videos, creators, hashtags as you type', query: SEARCH, variables: { query: 'da', types: ['VIDEO', 'USER', 'HASHTAG'] } },
    { name: 'Trending', about: 'what many people watch now', query: TRENDING },
    { name: 'Profile', about: 'a creator and their grid', query: PROFILE, variables: { username, first: 12, after: null } },
    {
      name: 'LikeVideo',
      about: 'like, comment, follow, share',
      query: ENGAGE,
      variables: { videoId, userId, text: 'Lovely!' },
    },
    { name: 'RecordWatches', about: 'tell the feed what was watched', query: WATCHES, variables: { watches: { watches: [watch] } } },
    { name: 'Notifications', about: 'the list, unread count, mark read', query: NOTIFICATIONS, variables: { upToId: 'paste a notification id' } },
    { name: 'NotificationReceived', about: 'live notifications', query: NOTIFIED, variables: { after: null } },
    { name: 'CommentAdded', about: 'live comments of a video', query: COMMENT_ADDED, variables: { videoId, after: null } },
    {
      name: 'BeginUpload',
      about: 'upload, transcode, publish',
      query: UPLOAD,
      variables: { begin: upload, uploadId: 'paste the upload id of BeginUpload', caption: 'My first clip #hello' },
    },
  ];
}

export function variablesText(example: Example): string {
  return example.variables ? JSON.stringify(example.variables, null, 2) : '';
}
