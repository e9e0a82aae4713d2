// GraphiQL's history keeps the headers of what was run, whatever `shouldPersistHeaders` says: tokens would stay in localStorage.

/** `localStorage`, but for the headers inside of what is stored. Values that are no JSON are stored as they are. */
export const storageWithoutHeaders: Pick<
  Storage,
  'getItem' | 'setItem' | 'removeItem' | 'clear' | 'length'
> = {
  getItem: (key) => localStorage.getItem(key),
  setItem: (key, value) => localStorage.setItem(key, withoutHeaders(value)),
  removeItem: (key) => localStorage.removeItem(key),
  clear: () => localStorage.clear(),
  get length() {
    return localStorage.length;
  },
};

function withoutHeaders(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), (key, value: unknown) => (key === 'headers' ? null : value));
  } catch {
    return text;
  }
}
