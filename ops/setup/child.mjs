// Child processes that do not outlive us: signals are passed on, and the tail of stderr is kept for a message.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Bytes of stderr (and of piped stdout) that are kept; a compiler can print megabytes. */
const TAIL = 64 * 1024;

/**
 * Full path of a command, or null. Only names, not paths, are looked up.
 * @param {string} command
 */
export function which(command) {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const file = join(folder || '.', command);
    if (existsSync(file)) return file;
  }
  return null;
}

/**
 * Runs a command to its end. A SIGINT, SIGTERM or SIGHUP that we get goes to the child; once it is gone we die of the
 * same signal, so a shell or npm above sees the truth.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, stdout?: 'inherit' | 'pipe', stderr?: 'inherit' | 'pipe', timeoutMs?: number }} [options]
 * @returns {Promise<{ code: number, stdout: string, stderr: string, signal: NodeJS.Signals | null }>} code 127 where the command could not start
 */
export async function runChild(command, args, options = {}) {
  const { cwd, env, stdout = 'pipe', stderr = 'pipe', timeoutMs } = options;
  const child = spawn(command, args, {
    stdio: [stdout === 'inherit' ? 'inherit' : 'ignore', stdout, stderr],
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
    ...(timeoutMs === undefined ? {} : { timeout: timeoutMs, killSignal: 'SIGKILL' }),
  });
  const tails = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    tails.stdout = (tails.stdout + text).slice(-TAIL);
  });
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    tails.stderr = (tails.stderr + text).slice(-TAIL);
  });

  /** @type {NodeJS.Signals | null} */
  let received = null;
  /** @type {(signal: NodeJS.Signals) => void} */
  const pass = (signal) => {
    received ??= signal;
    // A terminal's Ctrl-C reaches the whole group, the child included: a second one would cut its clean-up short.
    if (!(signal === 'SIGINT' && process.stdin.isTTY)) child.kill(signal);
  };
  /** @type {NodeJS.Signals[]} */
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, pass);
  try {
    return await new Promise((resolve) => {
      child.on('error', (error) => resolve({ code: 127, stdout: '', stderr: error.message, signal: null }));
      child.on('close', (code, signal) => resolve({ code: code ?? 1, ...tails, signal }));
    });
  } finally {
    for (const signal of signals) process.off(signal, pass);
    if (received !== null) process.kill(process.pid, received);
  }
}
