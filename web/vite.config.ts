import { defineConfig, loadEnv } from 'vite';

// GraphiQL's page is answered at /graphql and its files at /explorer/, so every URL in it is absolute.
export default defineConfig(({ mode }) => {
  const gateway = loadEnv(mode, '.', 'REELGRAPH_').REELGRAPH_DEV_GATEWAY ?? 'http://127.0.0.1:8080';
  return {
    base: '/explorer/',
    build: {
      target: 'es2022',
      // The polyfill is an extra script that browsers of the last years don't need.
      modulePreload: { polyfill: false },
      chunkSizeWarningLimit: 8192,
      reportCompressedSize: false,
      rolldownOptions: {
        input: { index: 'index.html', player: 'player.html' },
        // "use client" in dependencies concerns server rendering, and hides what matters in 100 warnings.
        onLog(level, log, handler) {
          if (log.code !== 'MODULE_LEVEL_DIRECTIVE') handler(level, log);
        },
      },
    },
    worker: { format: 'es' as const },
    server: {
      proxy: {
        '/graphql': { target: gateway, ws: true },
        '/explorer/config.json': gateway,
        '/v/': gateway,
      },
    },
  };
});
