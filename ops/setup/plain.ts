// The typed door to setup's plain JavaScript, which is not compiled: it has to run before anything is built.

interface CacheTools {
  /** `MEDIUM_RECIPE_CACHE`, else `~/.cache/medium-recipe`. */
  cacheRoot(): string;
  /** Pid and start time of a live process, which no later one shares; null where there is none. */
  identity(pid: number): string | null;
  /** Runs `body` while no other process of this machine holds the lock file; a dead owner's lock is taken over. */
  withLock<T>(file: string, onWait: (pid: string) => void, body: () => Promise<T>): Promise<T>;
  /** A fresh folder under `root`/tmp; folders that dead processes left there go. */
  temporary(root: string): string;
  /** Writes aside and renames. */
  writeAtomically(file: string, content: string | Uint8Array): void;
  /** Hex digest of a file. */
  sha256(file: string): Promise<string>;
}

interface ChildTools {
  /** Full path of a command on PATH, or null. */
  which(command: string): string | null;
}

interface Setup {
  /** Whether tfjs-node's native backend is in place; loads nothing. `reason` says what is missing. */
  nativeState(): Promise<{ ready: boolean; reason: string | null }>;
}

/** The package's root, seen from dist/ops/setup. */
export const packageRoot = new URL('../../../', import.meta.url);

const cache: CacheTools = await import(new URL('ops/setup/cache.mjs', packageRoot).href);

const child: ChildTools = await import(new URL('ops/setup/child.mjs', packageRoot).href);

export const { which } = child;
export const { cacheRoot, identity, withLock, temporary, writeAtomically, sha256 } = cache;

export async function nativeState(): ReturnType<Setup['nativeState']> {
  const setup: Setup = await import(new URL('ops/setup/setup.mjs', packageRoot).href);
  return setup.nativeState();
}
