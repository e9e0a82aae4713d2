/** What the player link needs of an answer: every clip's playlist and poster, in the answer's order. */

export interface Clip {
  hlsUrl: string;
  posterUrl: string | null;
}

const MOST_CLIPS = 20;

export function clipsIn(value: unknown, found: Clip[] = []): Clip[] {
  if (found.length >= MOST_CLIPS || typeof value !== 'object' || value === null) return found;
  const { hlsUrl, posterUrl } = value as { hlsUrl?: unknown; posterUrl?: unknown };
  if (typeof hlsUrl === 'string' && hlsUrl && !found.some((clip) => clip.hlsUrl === hlsUrl)) {
    found.push({ hlsUrl, posterUrl: typeof posterUrl === 'string' ? posterUrl : null });
  }
  for (const child of Object.values(value)) clipsIn(child, found);
  return found;
}

export function playerUrl(clips: Clip[]): string {
  const query = new URLSearchParams();
  for (const clip of clips) query.append('src', clip.hlsUrl);
  if (clips.every((clip) => clip.posterUrl)) {
    for (const clip of clips) query.append('poster', clip.posterUrl ?? '');
  }
  return `/explorer/player.html?${query.toString()}`;
}
