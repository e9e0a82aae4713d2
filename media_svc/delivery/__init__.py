"""Playback over HTTP: signed playlists, segments and pictures, and public avatars."""
