import { explorerPlugin } from '@graphiql/plugin-explorer';
import { GraphiQL, HISTORY_PLUGIN } from 'graphiql';
import { useMemo, useState } from 'react';
import type { ExplorerConfig } from './config';
import { examples as makeExamples, variablesText, type Samples } from './examples';
import { createFetcher } from './fetcher';
import { Header } from './Header';
import { clipsIn, type Clip } from './results';
import type { SessionStore } from './session';
import { storageWithoutHeaders } from './storage';

const PLUGINS = [HISTORY_PLUGIN, explorerPlugin({ showAttribution: false })];

interface AppProps {
  sessions: SessionStore;
  config: ExplorerConfig;
  samples: Samples;
}

export function App({ sessions, config, samples }: AppProps) {
  const [clips, setClips] = useState<Clip[]>([]);
  // GraphiQL introspects again whenever the fetcher is another one, so it stays the same.
  const fetcher = useMemo(
    () =>
      createFetcher(sessions, (answer) => {
        const found = clipsIn(answer.data);
        if (found.length) setClips(found);
      }),
    [sessions],
  );
  const examples = useMemo(() => makeExamples(samples), [samples]);
  const tabs = useMemo(
    () => examples.map((example) => ({ query: example.query, variables: variablesText(example) })),
    [examples],
  );
  return (
    <>
      <header id="header" className="rg-header" />
      <GraphiQL
        fetcher={fetcher}
        plugins={PLUGINS}
        defaultTabs={tabs}
        defaultEditorToolsVisibility="variables"
        // Tokens stand in the headers; they belong to the session, not to localStorage.
        shouldPersistHeaders={false}
        storage={storageWithoutHeaders}
        inputValueDeprecation
        schemaDescription
      >
        <GraphiQL.Logo>
          <span />
        </GraphiQL.Logo>
        <Header sessions={sessions} config={config} examples={examples} clips={clips} />
      </GraphiQL>
    </>
  );
}
