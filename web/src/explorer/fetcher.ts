/** GraphiQL's way to the gateway: HTTP for queries and mutations, graphql-transport-ws for subscriptions. */
import type { Fetcher, FetcherParams, Observable } from '@graphiql/toolkit';
import { Kind, parse, type ExecutionResult, type OperationDefinitionNode } from 'graphql';
import { createClient, type Client } from 'graphql-ws';
import { ENDPOINT, post, type GraphQLAnswer } from './api';
import type { SessionStore } from './session';

export type AnswerListener = (answer: GraphQLAnswer) => void;

interface Payload {
  query: string;
  operationName?: string;
  variables: Record<string, unknown>;
}

/** The one form of observer that GraphiQL passes. */
interface Sink {
  next(answer: GraphQLAnswer): void;
  error(problem: unknown): void;
  complete(): void;
}

/**
 * The operation to run, read from the text that is sent. GraphiQL's own AST and operation name lag behind the
 * editor: just after typing or a change of tabs they are the old ones, and a subscription would go out by POST.
 */
function operationOf(params: FetcherParams): OperationDefinitionNode | null {
  try {
    const operations = parse(params.query).definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION);
    return operations.find((operation) => operation.name?.value === params.operationName) ?? operations[0] ?? null;
  } catch {
    // The server explains a syntax error better than this page could.
    return null;
  }
}

function authorizationOf(headers: Record<string, unknown>): string | undefined {
  const name = Object.keys(headers).find((key) => key.toLowerCase() === 'authorization');
  return name === undefined ? undefined : String(headers[name]);
}

/** The headers as edited, but with the present token where they carry one that this page put there. */
async function withFreshToken(edited: Record<string, unknown>, sessions: SessionStore): Promise<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(edited)) headers[name.toLowerCase()] = String(value);
  const authorization = headers.authorization;
  if (authorization === undefined || !sessions.owns(authorization)) return headers;
  const session = await sessions.fresh();
  if (session) headers.authorization = `Bearer ${session.accessToken}`;
  else delete headers.authorization;
  return headers;
}

async function overHttp(params: FetcherParams, edited: Record<string, unknown>, sessions: SessionStore): Promise<GraphQLAnswer> {
  const call = { query: params.query, variables: params.variables as unknown, operationName: params.operationName };
  const headers = await withFreshToken(edited, sessions);
  const answer = await post(call, headers);
  const refused = answer.errors?.some((problem) => problem.extensions?.code === 'UNAUTHENTICATED');
  if (!refused || !headers.authorization || !sessions.owns(headers.authorization)) return answer;
  // The token was refused early (a restart, a rotated key): a refresh either repairs that or ends the session.
  const renewed = await sessions.refresh();
  return renewed ? post(call, { ...headers, authorization: `Bearer ${renewed.accessToken}` }) : answer;
}

function socketClient(authorization: () => Promise<string | undefined>): Client {
  const url = new URL(ENDPOINT, location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return createClient({
    url: url.href,
    lazy: true,
    retryAttempts: 8,
    connectionParams: async () => {
      const value = await authorization();
      return value ? { authorization: value } : {};
    },
  });
}

/** Remembers the last id in `$after`, where the operation has one: graphql-ws sends it again when it reconnects. */
function rememberLast(result: GraphQLAnswer, operation: OperationDefinitionNode, payload: Payload): void {
  if (!operation.variableDefinitions?.some((definition) => definition.variable.name.value === 'after')) return;
  for (const value of Object.values(result.data ?? {})) {
    const id = (value as { id?: unknown } | null)?.id;
    if (typeof id === 'string') payload.variables.after = id;
  }
}

/** An observable, not an async generator: a generator that waits for an event could not be stopped. */
function overSocket(
  params: FetcherParams,
  operation: OperationDefinitionNode,
  edited: Record<string, unknown>,
  sessions: SessionStore,
  onAnswer: AnswerListener,
): Observable<ExecutionResult> {
  const variables = { ...((params.variables as Record<string, unknown> | undefined) ?? {}) };
  const payload: Payload = { query: params.query, variables };
  if (params.operationName) payload.operationName = params.operationName;
  return {
    subscribe(observer) {
      const sink = observer as Sink;
      // A socket belongs to one session, so each subscription has its own and another log-in never shares it.
      const client = socketClient(async () => authorizationOf(await withFreshToken(edited, sessions)));
      const stop = client.subscribe<Record<string, unknown>>(payload, {
        next(result) {
          const answer = result as GraphQLAnswer;
          rememberLast(answer, operation, payload);
          onAnswer(answer);
          sink.next(answer);
        },
        error: (error) => sink.error(describe(error)),
        complete: () => sink.complete(),
      });
      return {
        unsubscribe() {
          stop();
          void client.dispose();
        },
      };
    },
  };
}

/** A close event has no message; its code and reason are what a person needs. */
function describe(error: unknown): unknown {
  if (!(error instanceof CloseEvent)) return error;
  const hint = error.code === 4403 ? ' (the token is bad or its session is revoked)' : '';
  return new Error(`The WebSocket closed with ${error.code} ${error.reason}${hint}`.trim());
}

export function createFetcher(sessions: SessionStore, onAnswer: AnswerListener): Fetcher {
  return async (asked, options) => {
    const edited = (options?.headers ?? {}) as Record<string, unknown>;
    const operation = operationOf(asked);
    const params = operation ? { ...asked, operationName: operation.name?.value } : asked;
    if (operation?.operation === 'subscription') return overSocket(params, operation, edited, sessions, onAnswer);
    const answer = await overHttp(params, edited, sessions);
    if (params.operationName !== 'IntrospectionQuery') {
      sessions.observe(answer);
      onAnswer(answer);
    }
    return answer as ExecutionResult;
  };
}
