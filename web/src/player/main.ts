/**
 * The reference player: `player.html?src=<master.m3u8>[&poster=<image>]`, vertical, looping, muted.
 * Several `src` make a list to move through (arrow keys, wheel, buttons), with a `poster` each in the same order.
 * `window.__player` tells its state to whoever tests it.
 */
import Hls, { type HlsConfig } from 'hls.js';
import './player.css';

interface PlayerError {
  type: string;
  details: string;
  fatal: boolean;
  message: string;
}

interface PlayerState {
  readonly src: string;
  readonly currentTime: number;
  readonly duration: number;
  readonly readyState: number;
  readonly paused: boolean;
  readonly muted: boolean;
  readonly videoWidth: number;
  readonly videoHeight: number;
  readonly currentLevel: number;
  readonly levels: { width: number; height: number; bitrate: number; codec: string }[];
  readonly errors: PlayerError[];
  readonly loops: number;
  /** Milliseconds from the page's start of loading the clip to its first frame; null until then. */
  readonly firstFrameMs: number | null;
  readonly engine: 'hls.js' | 'native' | 'none';
}

declare global {
  interface Window {
    __player: PlayerState;
  }
}

// A looping clip of a few seconds is buffered once and kept: it neither loads again nor drops to a low rung.
const CONFIG: Partial<HlsConfig> = {
  // The worker of hls.js is a blob: script, which the page's policy rightly forbids; fMP4 needs no transmuxing.
  enableWorker: false,
  backBufferLength: Infinity,
  maxBufferLength: 60,
  abrEwmaDefaultEstimate: 3_000_000,
  testBandwidth: false,
  capLevelToPlayerSize: true,
};

function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`player.html has no #${id}`);
  return found as T;
}

const video = element<HTMLVideoElement>('video');
const message = element<HTMLParagraphElement>('message');
const progress = element<HTMLSpanElement>('progress');
const levelLabel = element<HTMLSpanElement>('level');
const sound = element<HTMLButtonElement>('sound');
const query = new URLSearchParams(location.search);
const sources = query.getAll('src');
const posters = query.getAll('poster');

let hls: Hls | null = null;
let index = 0;
let loops = 0;
let lastTime = 0;
let startedAt = 0;
let firstFrameMs: number | null = null;
let engine: PlayerState['engine'] = 'none';
const errors: PlayerError[] = [];

window.__player = {
  get src() { return sources[index] ?? ''; },
  get currentTime() { return video.currentTime; },
  get duration() { return video.duration; },
  get readyState() { return video.readyState; },
  get paused() { return video.paused; },
  get muted() { return video.muted; },
  get videoWidth() { return video.videoWidth; },
  get videoHeight() { return video.videoHeight; },
  get currentLevel() { return hls?.currentLevel ?? -1; },
  get levels() {
    return (hls?.levels ?? []).map(({ width, height, bitrate, videoCodec }) => ({
      width, height, bitrate, codec: videoCodec ?? '',
    }));
  },
  get errors() { return errors.slice(); },
  get loops() { return loops; },
  get firstFrameMs() { return firstFrameMs; },
  get engine() { return engine; },
};

function say(text: string): void {
  message.textContent = text;
  message.hidden = text === '';
}

function report(problem: PlayerError): void {
  errors.push(problem);
  if (problem.fatal) say(`This clip can't be played: ${problem.message}`);
}

/** Network and media faults are tried once more each, as hls.js recommends; what fails again is final. */
function watchErrors(player: Hls): void {
  const retried = new Set<string>();
  player.on(Hls.Events.ERROR, (_event, data) => {
    const recoverable = data.fatal && !retried.has(data.type) && data.response?.code === undefined;
    report({
      type: data.type,
      details: data.details,
      fatal: data.fatal && !recoverable,
      message: data.response?.code ? `HTTP ${data.response.code}` : data.error.message,
    });
    if (!recoverable) return;
    retried.add(data.type);
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR) player.recoverMediaError();
    else player.startLoad();
  });
}

async function start(): Promise<void> {
  try {
    await video.play();
  } catch (error) {
    // A newer clip interrupts the older one's start; that is no fault.
    if (error instanceof DOMException && error.name === 'AbortError') return;
    report({ type: 'autoplay', details: 'blocked', fatal: false, message: String(error) });
    say('Tap to play');
  }
}

function posterFor(source: string, position: number): string {
  return posters[position] ?? new URL('poster.jpg', new URL(source, location.href)).href;
}

function load(position: number): void {
  const source = sources[position];
  if (source === undefined) {
    say('Add ?src= and the URL of a master.m3u8 to this page\u2019s address.');
    return;
  }
  hls?.destroy();
  hls = null;
  index = position;
  loops = lastTime = 0;
  firstFrameMs = null;
  startedAt = performance.now();
  say('');
  video.poster = posterFor(source, position);
  if (Hls.isSupported()) {
    engine = 'hls.js';
    hls = new Hls(CONFIG);
    watchErrors(hls);
    hls.loadSource(source);
    hls.attachMedia(video);
  } else if (video.canPlayType('application/vnd.apple.mpegurl')) {
    engine = 'native';
    video.src = source;
  } else {
    report({ type: 'support', details: 'none', fatal: true, message: 'this browser has no HLS and no Media Source' });
    return;
  }
  element<HTMLButtonElement>('previous').hidden = position === 0;
  element<HTMLButtonElement>('next').hidden = position + 1 >= sources.length;
  void start();
}

function step(by: number): void {
  const wanted = index + by;
  if (wanted >= 0 && wanted < sources.length) load(wanted);
}

video.addEventListener('error', () => {
  if (engine === 'native') {
    report({ type: 'media', details: String(video.error?.code), fatal: true, message: video.error?.message ?? '' });
  }
});
video.addEventListener('loadeddata', () => {
  firstFrameMs ??= performance.now() - startedAt;
});
video.addEventListener('timeupdate', () => {
  const now = video.currentTime;
  if (lastTime - now > video.duration / 2) loops += 1;
  lastTime = now;
  progress.style.transform = `scaleX(${video.duration ? now / video.duration : 0})`;
  const level = hls?.levels[hls.currentLevel];
  levelLabel.textContent = level ? `${level.width}\u00d7${level.height} \u00b7 ${Math.round(level.bitrate / 1000)} kb/s` : '';
});
video.addEventListener('click', () => {
  say('');
  if (video.paused) void start();
  else video.pause();
});
sound.addEventListener('click', () => {
  video.muted = !video.muted;
  sound.setAttribute('aria-pressed', String(!video.muted));
  sound.textContent = video.muted ? 'Sound off' : 'Sound on';
});
element('previous').addEventListener('click', () => step(-1));
element('next').addEventListener('click', () => step(1));
addEventListener('keydown', (event) => {
  if (event.key === 'ArrowDown') step(1);
  if (event.key === 'ArrowUp') step(-1);
});

// Chromium counts only the property, not the attribute, when it decides whether a clip may start by itself.
video.muted = true;
load(0);
