/** The operations the explorer opens with: one browser tab's worth of everything a frontend does. */
import { post, randomToken } from './api';
import ACCOUNT from './operations/account.graphql?raw';
import COMMENT_ADDED from './operations/comment-added.graphql?raw';
import ENGAGE from './operations/engage.graphql?raw';
import FEED from './operations/feed.graphql?raw';
import FEED_PAGE from './operations/feed-page.graphql?raw';
import NOTIFIED from './operations/notification-received.graphql?raw';
import NOTIFICATIONS from './operations/notifications.graphql?raw';
import PROFILE from './operations/profile.graphql?raw';
import WATCHES from './operations/record-watches.graphql?raw';
import SEARCH from './operations/search.graphql?raw';
import TRENDING from './operations/trending.graphql?raw';
import UPLOAD from './operations/upload.graphql?raw';
import SAMPLES from './operations/own-samples.graphql?raw';

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
    const answer = await post({ query: SAMPLES });
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
