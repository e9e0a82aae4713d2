import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import '@graphiql/plugin-explorer/style.css';
import './explorer.css';
import { createRoot } from 'react-dom/client';
import { App } from './App';
import { loadConfig } from './config';
import { findSamples } from './examples';
import { SessionStore } from './session';

const root = document.getElementById('root');
if (!root) throw new Error('index.html has no #root');
const sessions = new SessionStore(sessionStorage);
const [config, samples] = await Promise.all([loadConfig(), findSamples()]);
createRoot(root).render(<App sessions={sessions} config={config} samples={samples} />);
