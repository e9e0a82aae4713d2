import { useGraphiQL, useGraphiQLActions } from '@graphiql/react';
import { useEffect, useRef, useState, useSyncExternalStore, type FormEvent } from 'react';
import { createPortal } from 'react-dom';
import type { ExplorerConfig } from './config';
import { variablesText, type Example } from './examples';
import { playerUrl, type Clip } from './results';
import type { SessionStore } from './session';

interface HeaderProps {
  sessions: SessionStore;
  config: ExplorerConfig;
  examples: Example[];
  clips: Clip[];
}

/** Keeps `authorization` in the header editor of whichever tab is open; leaves a hand-written one alone. */
function useAuthorizationHeader(sessions: SessionStore, token: string | undefined): void {
  const { headerEditor, activeTabIndex } = useGraphiQL((state) => ({
    headerEditor: state.headerEditor,
    activeTabIndex: state.activeTabIndex,
  }));
  useEffect(() => {
    if (!headerEditor) return;
    const text = headerEditor.getValue();
    let headers: Record<string, unknown>;
    try {
      headers = text.trim() ? (JSON.parse(text) as Record<string, unknown>) : {};
    } catch {
      // Somebody is in the middle of typing there.
      return;
    }
    const name = Object.keys(headers).find((key) => key.toLowerCase() === 'authorization');
    if (name !== undefined && !sessions.owns(String(headers[name]))) return;
    if (name !== undefined) delete headers[name];
    if (token) headers.authorization = `Bearer ${token}`;
    const wanted = Object.keys(headers).length ? JSON.stringify(headers, null, 2) : '';
    if (wanted !== text) headerEditor.setValue(wanted);
  }, [headerEditor, activeTabIndex, sessions, token]);
}

function ExamplePicker({ examples }: { examples: Example[] }) {
  const { addTab, changeTab } = useGraphiQLActions();
  const { tabs, queryEditor, variableEditor } = useGraphiQL((state) => ({
    tabs: state.tabs,
    queryEditor: state.queryEditor,
    variableEditor: state.variableEditor,
  }));
  const open = (name: string) => {
    const example = examples.find((candidate) => candidate.name === name);
    if (!example) return;
    // An untouched example that is still open is gone to, not opened twice.
    const present = tabs.findIndex((tab) => tab.query === example.query);
    if (present >= 0) {
      changeTab(present);
      return;
    }
    addTab();
    queryEditor?.setValue(example.query);
    variableEditor?.setValue(variablesText(example));
  };
  return (
    <select className="rg-examples" aria-label="Examples" value="" onChange={(event) => open(event.target.value)}>
      <option value="" disabled>
        Examples
      </option>
      {examples.map((example) => (
        <option key={example.name} value={example.name}>
          {example.name} — {example.about}
        </option>
      ))}
    </select>
  );
}

function LogInForm({ onSubmit }: { onSubmit(username: string, password: string): void }) {
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    onSubmit(String(form.get('username')), String(form.get('password')));
  };
  return (
    <form className="rg-form" onSubmit={submit}>
      <label>
        User name
        <input name="username" autoComplete="username" required autoFocus />
      </label>
      <label>
        Password
        <input name="password" type="password" autoComplete="current-password" required />
      </label>
      <button type="submit" className="rg-button rg-primary">
        Log in
      </button>
    </form>
  );
}

function Account({ sessions, config }: Pick<HeaderProps, 'sessions' | 'config'>) {
  const session = useSyncExternalStore(sessions.subscribe, sessions.snapshot);
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  const root = useRef<HTMLDivElement>(null);
  useAuthorizationHeader(sessions, session?.accessToken);

  useEffect(() => {
    if (!asking) return;
    const leave = (event: Event) => {
      const outside = event instanceof KeyboardEvent ? event.key === 'Escape' : !root.current?.contains(event.target as Node);
      if (outside) setAsking(false);
    };
    addEventListener('pointerdown', leave);
    addEventListener('keydown', leave);
    return () => {
      removeEventListener('pointerdown', leave);
      removeEventListener('keydown', leave);
    };
  }, [asking]);

  const attempt = async (action: () => Promise<void>) => {
    setBusy(true);
    setProblem('');
    try {
      await action();
      setAsking(false);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  };
  const logIn = (username: string, password: string) => void attempt(() => sessions.logIn(username, password));

  return (
    <div className="rg-account" ref={root}>
      <span className="rg-problem" role="alert">
        {problem}
      </span>
      {session ? (
        <>
          <span className="rg-user" title="Its token is in the Headers editor and on the WebSocket">
            @{session.username}
          </span>
          <button type="button" className="rg-button" disabled={busy} onClick={() => void attempt(() => sessions.logOut())}>
            Log out
          </button>
        </>
      ) : (
        <>
          {config.demoLogins.map((demo, position) => (
            <button
              key={demo.username}
              type="button"
              className={position === 0 ? 'rg-button rg-primary' : 'rg-button'}
              disabled={busy}
              title={`Log in as ${demo.username}`}
              onClick={() => logIn(demo.username, demo.password)}
            >
              {position === 0 ? 'Log in as demo' : `as ${demo.username}`}
            </button>
          ))}
          <button
            type="button"
            className="rg-button"
            aria-expanded={asking}
            disabled={busy}
            onClick={() => setAsking(!asking)}
          >
            Log in…
          </button>
          {asking && <LogInForm onSubmit={logIn} />}
        </>
      )}
    </div>
  );
}

/** The bar above GraphiQL. It is inside GraphiQL's context, so that it can reach the editors, and drawn outside. */
export function Header({ sessions, config, examples, clips }: HeaderProps) {
  const target = document.getElementById('header');
  if (!target) return null;
  return createPortal(
    <>
      <strong className="rg-brand">
        <img src="/explorer/favicon.svg" alt="" width="20" height="20" />
        Reelgraph
        <span className="rg-version">{config.version && `API explorer ${config.version}`}</span>
      </strong>
      <ExamplePicker examples={examples} />
      {clips.length > 0 && (
        <a className="rg-button" href={playerUrl(clips)} target="_blank" rel="noreferrer">
          ▶ Play {clips.length === 1 ? 'the video' : `these ${clips.length} videos`}
        </a>
      )}
      <Account sessions={sessions} config={config} />
    </>,
    target,
  );
}
