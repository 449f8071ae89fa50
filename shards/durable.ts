// Files that exist whole or not at all: a temporary name, fsync, rename, fsync of the folder.

import { type FileHandle, open, rename, rm } from 'node:fs/promises';

/** A file under a temporary name beside its own; it takes its name only when `keep` has made it durable. */
export class DurableFile {
  readonly handle: FileHandle;
  readonly #path: string;

  private constructor(handle: FileHandle, path: string) {
    this.handle = handle;
    this.#path = path;
  }

  static async create(path: string): Promise<DurableFile> {
    return new DurableFile(await open(temporary(path), 'w'), path);
  }

  /** Makes the bytes durable, then the name. */
  async keep(): Promise<void> {
    await this.handle.sync();
    await this.handle.close();
    await rename(temporary(this.#path), this.#path);
  }

  /** Closes and removes what was written. */
  async drop(): Promise<void> {
    await this.handle.close();
    await rm(temporary(this.#path), { force: true });
  }
}

const temporary = (path: string): string => `${path}.tmp`;

export async function writeFileDurably(path: string, data: string | Uint8Array): Promise<void> {
  const file = await DurableFile.create(path);
  try {
    await file.handle.writeFile(data);
  } catch (error) {
    await file.drop();
    throw error;
  }
  await file.keep();
}

/** Makes a folder's entries durable; renames inside it are not before this. Windows has no such call and needs none. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
