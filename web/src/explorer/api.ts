/** Plain GraphQL over HTTP to the gateway that served this page. */

export const ENDPOINT = '/graphql';
const CLIENT_ID_KEY = 'reelgraph:client-id';

export interface GraphQLProblem {
  message: string;
  extensions?: { code?: string; requestId?: string; retryAfterMs?: number };
}

export interface GraphQLAnswer {
  data?: Record<string, unknown> | null;
  errors?: GraphQLProblem[];
  extensions?: Record<string, unknown>;
}

export interface GraphQLCall {
  query: string;
  variables?: unknown;
  operationName?: string | null;
}

/** A random id that keeps a logged-out viewer's feed snapshot from one page to the next. */
function clientId(): string {
  try {
    const known = localStorage.getItem(CLIENT_ID_KEY);
    if (known) return known;
    const made = randomToken();
    localStorage.setItem(CLIENT_ID_KEY, made);
    return made;
  } catch {
    // Storage can be switched off; the feed then starts a snapshot with every page.
    return randomToken();
  }
}

/** 32 hex digits. Not `crypto.randomUUID`, which plain HTTP on a LAN address does not have. */
export function randomToken(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Posts one operation. Throws only when the answer is not GraphQL at all. */
export async function post(call: GraphQLCall, headers: Record<string, string> = {}): Promise<GraphQLAnswer> {
  const response = await fetch(ENDPOINT, {
    method: 'POST',
    headers: {
      accept: 'application/graphql-response+json, application/json;q=0.9',
      'content-type': 'application/json',
      'x-client-id': clientId(),
      'x-client-timezone': Intl.DateTimeFormat().resolvedOptions().timeZone,
      ...headers,
    },
    body: JSON.stringify(call),
  });
  const text = await response.text();
  try {
    return JSON.parse(text) as GraphQLAnswer;
  } catch {
    throw new Error(`HTTP ${response.status} ${response.statusText}: ${text.slice(0, 300) || 'an empty answer'}`);
  }
}
