/**
 * The log-in of this browser tab: tokens in sessionStorage, refreshed shortly before they expire.
 *
 * A refresh token works once, and using it again revokes the whole family. A duplicated browser tab has the same
 * token, so each token is stored with its own idempotency key: both copies then get the same answer.
 */
import { post, randomToken, type GraphQLAnswer } from './api';
import LOG_IN from './operations/own-log-in.graphql?raw';
import LOG_OUT from './operations/own-log-out.graphql?raw';
import REFRESH from './operations/own-refresh.graphql?raw';

export interface Session {
  accessToken: string;
  refreshToken: string;
  /** Milliseconds since 1970. */
  accessExpiresAt: number;
  username: string;
  refreshKey: string;
}

interface TokenPayload {
  accessToken?: string | null;
  refreshToken?: string | null;
  accessExpiresAt?: string | null;
  user?: { username?: string | null } | null;
  userErrors?: { message: string; code: string }[];
}

const STORAGE_KEY = 'reelgraph:session';
const EARLY_MS = 60_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class SessionStore {
  private current: Session | null = null;
  private readonly listeners = new Set<() => void>();
  private readonly issued = new Set<string>();
  private refreshing: Promise<Session | null> | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly storage: Storage) {
    const stored = storage.getItem(STORAGE_KEY);
    if (stored) this.adopt(JSON.parse(stored) as Session);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): Session | null => this.current;

  /** Whether this page, and not a person, put the header's token there. */
  owns(authorization: string): boolean {
    return this.issued.has(authorization.replace(/^Bearer /i, ''));
  }

  /** The session with an access token that still lasts; null when nobody is logged in. */
  async fresh(): Promise<Session | null> {
    const session = this.current;
    if (!session || session.accessExpiresAt - Date.now() > EARLY_MS) return session;
    return this.refresh();
  }

  async logIn(username: string, password: string): Promise<void> {
    const answer = await post({
      query: LOG_IN,
      variables: { input: { username, password, device: 'API explorer' } },
    });
    this.learn(answer, 'logIn');
  }

  async logOut(): Promise<void> {
    const session = this.current;
    this.set(null);
    if (!session) return;
    await post({ query: LOG_OUT }, { authorization: `Bearer ${session.accessToken}` });
  }

  /** Renews the tokens now, once for all who ask at the same time. Null: the session is over. */
  refresh(): Promise<Session | null> {
    this.refreshing ??= this.renew().finally(() => {
      this.refreshing = null;
    });
    return this.refreshing;
  }

  /** Follows what a person runs in the editor: their log-in, refresh or log-out is this page's too. */
  observe(answer: GraphQLAnswer): void {
    const data = answer.data ?? {};
    for (const field of ['signUp', 'logIn', 'refreshSession']) {
      const payload = data[field] as TokenPayload | null | undefined;
      if (payload?.accessToken && payload.refreshToken) this.keep(payload);
    }
    const left = data.logOut as { revokedSessionId?: string | null } | null | undefined;
    if (left?.revokedSessionId) this.set(null);
  }

  private async renew(): Promise<Session | null> {
    const session = this.current;
    if (!session) return null;
    const input = { refreshToken: session.refreshToken, idempotencyKey: session.refreshKey };
    const answer = await post({ query: REFRESH, variables: { input } });
    const payload = answer.data?.refreshSession as TokenPayload | null | undefined;
    // Only a refused token ends the session; a server that is down is asked again with the next request.
    if (payload?.userErrors?.some((problem) => problem.code === 'INVALID_CREDENTIALS')) this.set(null);
    else if (payload?.accessToken) this.keep(payload);
    return this.current;
  }

  private learn(answer: GraphQLAnswer, field: string): void {
    const payload = answer.data?.[field] as TokenPayload | null | undefined;
    const problem = payload?.userErrors?.[0]?.message ?? answer.errors?.[0]?.message;
    if (!payload?.accessToken) throw new Error(problem ?? 'The server gave no session.');
    this.keep(payload);
  }

  private keep(payload: TokenPayload): void {
    this.set({
      accessToken: payload.accessToken ?? '',
      refreshToken: payload.refreshToken ?? this.current?.refreshToken ?? '',
      accessExpiresAt: payload.accessExpiresAt ? Date.parse(payload.accessExpiresAt) : Date.now() + 5 * EARLY_MS,
      username: payload.user?.username ?? this.current?.username ?? 'logged in',
      refreshKey: randomToken(),
    });
  }

  private set(session: Session | null): void {
    if (session) this.storage.setItem(STORAGE_KEY, JSON.stringify(session));
    else this.storage.removeItem(STORAGE_KEY);
    this.adopt(session);
  }

  private adopt(session: Session | null): void {
    clearTimeout(this.timer);
    this.current = session;
    if (session) {
      this.issued.add(session.accessToken);
      const wait = Math.max(session.accessExpiresAt - Date.now() - EARLY_MS, 1_000);
      this.timer = setTimeout(() => {
        this.refresh().catch((error: unknown) => console.warn('the session could not be refreshed', error));
      }, Math.min(wait, LONGEST_TIMER_MS));
    }
    for (const listener of this.listeners) listener();
  }
}
