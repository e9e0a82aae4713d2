export interface DemoLogin {
  username: string;
  password: string;
}

export interface ExplorerConfig {
  demoLogins: DemoLogin[];
  version: string;
}

/** What the server tells this page; without it the page works, only without the demo log-in. */
export async function loadConfig(): Promise<ExplorerConfig> {
  try {
    const response = await fetch('/explorer/config.json', { headers: { accept: 'application/json' } });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const found = (await response.json()) as Partial<ExplorerConfig>;
    return { demoLogins: found.demoLogins ?? [], version: found.version ?? '' };
  } catch (error) {
    console.warn('explorer/config.json is not available', error);
    return { demoLogins: [], version: '' };
  }
}
