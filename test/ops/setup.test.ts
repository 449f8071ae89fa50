// Setup: what it ships fits what is installed, and its way from wheel to cache survives damage, crashes and company.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import {
  appendFile,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { devNull, hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cacheRoot, identity, nativeState, packageRoot, sha256, temporary, withLock } from '../../ops/setup/plain.ts';
import { requirement } from '../requirements.ts';

const run = promisify(execFile);
const plain = (name: string): string => new URL(`ops/setup/${name}`, packageRoot).href;
const path = (name: string): string => fileURLToPath(new URL(name, packageRoot));

interface WheelPin {
  readonly wheel: string;
  readonly version: string;
  readonly python: string;
  readonly platform: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly unpackedBytes: number;
}

const wheelTools: {
  damage(dir: string, pin: WheelPin): string | null;
  ensureLibtensorflow(options: {
    root: string;
    dir: string;
    pin: WheelPin;
    say: (line: string) => void;
  }): Promise<boolean>;
} = await import(plain('wheel.mjs'));

const addonTools: {
  sourcesHash(pkg: string): string;
  prebuilt(platform: string): { file: string; card: { sha256: string; sources: string; napi: number } } | null;
} = await import(plain('addon.mjs'));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'medium-recipe-setup-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('the shipped addon is the one that its card names, made from the installed sources', async () => {
  const shipped = addonTools.prebuilt('linux-x64');
  assert.ok(shipped);
  const pins = JSON.parse(await readFile(path('ops/setup/pins.json'), 'utf8'));
  assert.equal(await sha256(shipped.file), shipped.card.sha256);
  assert.equal(shipped.card.napi, pins.napi);
  assert.equal(shipped.card.sources, addonTools.sourcesHash(path('node_modules/@tensorflow/tfjs-node')));
});

test('another byte or name in the sources is another hash', async () => {
  const pkg = join(folder, 'tfjs-node');
  await cp(path('node_modules/@tensorflow/tfjs-node/binding'), join(pkg, 'binding'), { recursive: true });
  const before = addonTools.sourcesHash(pkg);
  await rename(join(pkg, 'binding/utils.h'), join(pkg, 'binding/utilities.h'));
  const renamed = addonTools.sourcesHash(pkg);
  await rename(join(pkg, 'binding/utilities.h'), join(pkg, 'binding/utils.h'));
  assert.equal(addonTools.sourcesHash(pkg), before);
  await appendFile(join(pkg, 'binding/utils.h'), '\n');
  assert.equal(new Set([before, renamed, addonTools.sourcesHash(pkg)]).size, 3);
});

test('the pins name the tfjs-node that package.json asks for', async () => {
  const { tfjsNode } = JSON.parse(await readFile(path('ops/setup/pins.json'), 'utf8'));
  const { dependencies } = JSON.parse(await readFile(path('package.json'), 'utf8'));
  assert.equal(dependencies['@tensorflow/tfjs-node'], tfjsNode);
});

test('setup has nothing to do where all is right', requirement('tfjs-node'), async () => {
  assert.deepEqual(await nativeState(), { ready: true, reason: null });
  const { stdout } = await run(process.execPath, [path('ops/setup/setup.mjs')]);
  assert.match(stdout, /^setup: tfjs-node [\d.]+ on libtensorflow [\d.]+ is ready\n$/);
});

test('unknown arguments and commands are wrong usage', async () => {
  await assert.rejects(run(process.execPath, [path('ops/setup/setup.mjs'), '--nix']), { code: 2 });
  await assert.rejects(run(process.execPath, [path('ops/setup/bootstrap.mjs'), 'nix']), { code: 2 });
});

test('a filter that matches no test fails instead of passing', async () => {
  const ended = run(process.execPath, [path('ops/setup/run-tests.mjs'), 'no-such-test']);
  await assert.rejects(ended, { code: 1, stderr: /no test matches no-such-test/ });
});

suite('a wheel', requirement('python'), () => {
  const environment = { ...process.env };
  let pin: WheelPin;
  let root: string;
  let dir: string;
  let lines: string[];

  /** Real pip, a real wheel; only that it is small and comes from a folder. Stand-ins of the libraries can be stripped. */
  beforeEach(async () => {
    const mac = process.platform === 'darwin';
    const suffix = mac ? '2.dylib' : 'so.2';
    const platform = mac ? 'macosx_12_0_arm64' : 'manylinux_2_27_x86_64';
    const library = await readFile(addonTools.prebuilt('linux-x64')?.file ?? '');
    const tree = join(folder, 'tree');
    const files: Record<string, string | Buffer> = {
      [`tensorflow/libtensorflow_cc.${suffix}`]: library,
      [`tensorflow/libtensorflow_framework.${suffix}`]: library,
      'tensorflow/include/tensorflow/c/c_api.h': '// C\n',
      'tensorflow/include/unwanted/large.h': '// not ours\n',
      'tensorflow/include/LICENSE': 'licence\n',
      'tensorflow/python/unwanted.bin': randomBytes(600_000), // does not compress: several chunks of 64 KiB
      'tiny_tensorflow-1.0.dist-info/METADATA': 'Metadata-Version: 2.1\nName: tiny-tensorflow\nVersion: 1.0\n',
      'tiny_tensorflow-1.0.dist-info/WHEEL': 'Wheel-Version: 1.0\n',
      'tiny_tensorflow-1.0.dist-info/RECORD': '',
    };
    for (const [name, content] of Object.entries(files)) {
      await mkdir(join(tree, name, '..'), { recursive: true });
      await writeFile(join(tree, name), content);
    }
    const index = join(folder, 'index');
    await mkdir(index);
    const file = join(index, `tiny_tensorflow-1.0-cp311-cp311-${platform}.whl`);
    await run('python3', ['-m', 'zipfile', '-c', file, ...(await readdir(tree))], { cwd: tree });
    const { size } = await stat(file);
    const hash = createHash('sha256')
      .update(await readFile(file))
      .digest('hex');
    pin = {
      wheel: 'tiny-tensorflow',
      version: '1.0',
      python: '3.11',
      platform,
      sha256: hash,
      bytes: size,
      unpackedBytes: size,
    };
    root = join(folder, 'cache');
    dir = join(root, 'libtensorflow');
    lines = [];
    process.env['PIP_NO_INDEX'] = '1';
    process.env['PIP_FIND_LINKS'] = index;
  });
  afterEach(() => {
    process.env = { ...environment };
  });

  const ensure = () => wheelTools.ensureLibtensorflow({ root, dir, pin, say: (line) => lines.push(line) });
  const wheels = async () => (existsSync(join(root, 'wheels')) ? readdir(join(root, 'wheels')) : []);
  /** From here on nothing can be downloaded any more. */
  const unplug = () => {
    process.env['PIP_FIND_LINKS'] = folder;
  };

  test('becomes libraries, headers and licence, and is removed', async () => {
    assert.equal(await ensure(), true);
    assert.equal(wheelTools.damage(dir, pin), null);
    assert.deepEqual((await readdir(join(dir, 'include'))).sort(), ['tensorflow']);
    assert.ok(existsSync(join(dir, 'LICENSE')));
    const linked = (await readdir(join(dir, 'lib'))).filter((name) => /^libtensorflow\.(so|dylib)$/.test(name));
    assert.match(await readlink(join(dir, 'lib', linked[0] ?? '')), /^libtensorflow_cc\./);
    assert.deepEqual([await wheels(), await readdir(join(root, 'tmp'))], [[], []]);
  });

  test('is not wanted again while the cache is whole, without Python or network', async () => {
    await ensure();
    process.env['PATH'] = folder;
    assert.equal(await ensure(), false);
  });

  test('is unpacked again when a library in the cache was tampered with or is gone', async () => {
    await ensure();
    const [library = ''] = (await readdir(join(dir, 'lib'))).filter((name) => name.includes('_cc'));
    const { atime, mtime, size } = await stat(join(dir, 'lib', library));
    const bytes = await readFile(join(dir, 'lib', library));
    bytes[size >> 1] = (bytes[size >> 1] ?? 0) ^ 1;
    await writeFile(join(dir, 'lib', library), bytes);
    assert.equal(wheelTools.damage(dir, pin), `lib/${library} was written again`);
    assert.equal(await ensure(), true);
    assert.equal(wheelTools.damage(dir, pin), null);
    await rm(join(dir, 'lib', library));
    assert.equal(await ensure(), true);
    await utimes(join(dir, 'lib', library), atime, mtime); // a copied cache: other times, the same bytes
    assert.equal(await ensure(), false);
  });

  test('that was downloaded before an interruption is used without the network', async () => {
    const downloads = join(root, 'wheels');
    await mkdir(downloads, { recursive: true });
    const [name = ''] = await readdir(join(folder, 'index'));
    const kept = join(downloads, `${pin.wheel}-${pin.version}-${pin.platform}.whl`);
    await cp(join(folder, 'index', name), kept);
    unplug();
    assert.equal(await ensure(), true);
    assert.deepEqual(await wheels(), []);
  });

  test('that was cut short is thrown away and fetched again', async () => {
    const downloads = join(root, 'wheels');
    await mkdir(downloads, { recursive: true });
    await writeFile(join(downloads, `${pin.wheel}-${pin.version}-${pin.platform}.whl`), 'half a wheel');
    assert.equal(await ensure(), true);
    assert.ok(lines.includes('an earlier download is damaged and goes'));
  });

  test('with another sha256 than the pinned one is refused and not kept', async () => {
    pin = { ...pin, sha256: '0'.repeat(64) };
    await assert.rejects(ensure(), { code: 'wheel-mismatch' });
    assert.deepEqual([existsSync(dir), await wheels(), await readdir(join(root, 'tmp'))], [false, [], []]);
  });

  test('that nobody has, and a machine without pip, each end with one line and the remedy', async () => {
    unplug();
    await assert.rejects(ensure(), { code: 'download-failed', message: /No matching distribution.*npm run setup/ });
    process.env['PATH'] = folder;
    await assert.rejects(ensure(), { code: 'pip-missing', message: /^[^\n]*install Python 3[^\n]*$/ });
    assert.equal(existsSync(dir), false);
  });

  /** A setup of its own process, as arguments of node. */
  const script = (): readonly string[] => [
    '--input-type=module',
    '-e',
    `const { ensureLibtensorflow } = await import(${JSON.stringify(plain('wheel.mjs'))});
      console.log(await ensureLibtensorflow({ ...${JSON.stringify({ root, dir, pin })}, say() {} }))`,
  ];

  test('is fetched once by two setups at once', async () => {
    const one = () => run(process.execPath, script());
    const made = (await Promise.all([one(), one()])).map(({ stdout }) => stdout.trim());
    assert.deepEqual(made.sort(), ['false', 'true']);
    assert.equal(wheelTools.damage(dir, pin), null);
  });

  suite('on a local index', () => {
    /** How the server answers; each test sets what it is about. */
    let manner: { ranges: boolean; length: boolean; cut: 'never' | 'once' | 'always'; stall: boolean };
    /** What was asked for and how many of the wheel's bytes were sent, request by request. */
    let asked: { range: string | undefined; sent: number }[];
    let bytes: Buffer;
    let server: Server;
    let partial: string;

    beforeEach(async () => {
      manner = { ranges: true, length: true, cut: 'never', stall: false };
      asked = [];
      const [name = ''] = await readdir(join(folder, 'index'));
      bytes = await readFile(join(folder, 'index', name));
      partial = join(root, 'wheels', `${pin.wheel}-${pin.version}-${pin.platform}.whl.partial`);
      await mkdir(join(root, 'wheels'), { recursive: true });
      server = createServer((request, response) => {
        if (!request.url?.endsWith('.whl')) {
          response.setHeader('content-type', 'text/html').end(`<a href="/${name}">${name}</a>`);
          return;
        }
        const { range } = request.headers;
        const start = manner.ranges ? Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0) : 0;
        const rest = bytes.subarray(start);
        if (manner.length) response.setHeader('content-length', rest.length);
        if (manner.ranges && range !== undefined)
          response.writeHead(206, { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` });
        const cut = manner.cut !== 'never' || manner.stall;
        const part = cut ? rest.subarray(0, rest.length >> 1) : rest;
        asked.push({ range, sent: part.length });
        if (manner.cut === 'once') manner.cut = 'never';
        if (manner.stall) response.write(part);
        else if (cut) response.write(part, () => response.socket?.end());
        else {
          response.write(part); // `end` alone would tell the length
          response.end();
        }
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      for (const key of Object.keys(process.env).filter((key) => /^PIP_/.test(key))) delete process.env[key];
      process.env['PIP_CONFIG_FILE'] = devNull; // no other index, whatever this machine's configuration
      process.env['PIP_INDEX_URL'] = `http://127.0.0.1:${(server.address() as AddressInfo).port}/simple`;
      process.env['NO_PROXY'] = process.env['no_proxy'] = '127.0.0.1';
    });
    afterEach(async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });

    const ranges = () => asked.map(({ range }) => range);
    /** Of the right size and unpacked from the right bytes: the sha256 was checked before. */
    const complete = async () => {
      assert.equal(wheelTools.damage(dir, pin), null);
      assert.deepEqual(await wheels(), []);
    };

    test('goes on where a killed setup stood', async () => {
      manner.stall = true;
      const killed = spawn(process.execPath, script(), { stdio: 'ignore' });
      const gone = new Promise((resolve) => killed.on('exit', resolve));
      try {
        while (killed.exitCode === null && !statSync(partial, { throwIfNoEntry: false })?.size) await sleep(5);
      } finally {
        killed.kill('SIGKILL'); // its child learns of it with its next chunk
      }
      await gone;
      manner.stall = false;
      server.closeAllConnections();
      assert.equal(await ensure(), true);
      await complete();
      const [first, ...others] = asked;
      const last = others.at(-1);
      assert.equal(first?.range, 'bytes=0-');
      const start = Number(last?.range?.match(/^bytes=(\d+)-$/)?.[1]);
      assert.ok(start > 0, `the last request was ${last?.range}`);
      assert.equal(last?.sent, bytes.length - start);
    });

    test('goes on within one setup when the connection breaks', async () => {
      manner.cut = 'once';
      assert.equal(await ensure(), true);
      await complete();
      assert.equal(asked.length, 2);
      assert.match(ranges()[1] ?? '', /^bytes=[1-9]\d*-$/);
      assert.ok(lines.some((line) => /^the connection broke at byte [1-9]\d* /.test(line)));
    });

    test('starts again, and says so, on a server without byte ranges', async () => {
      await writeFile(partial, bytes.subarray(0, 100_000));
      manner.ranges = false;
      assert.equal(await ensure(), true);
      await complete();
      assert.deepEqual(asked, [{ range: 'bytes=100000-', sent: bytes.length }]);
      assert.ok(lines.includes('the server sends no byte ranges: starting again from zero'));
    });

    test('is not asked for again and again where every connection breaks and nothing can be resumed', async () => {
      manner = { ...manner, ranges: false, cut: 'always' };
      await assert.rejects(ensure(), {
        code: 'download-failed',
        message: /broke at byte \d+, and the server sends no/,
      });
      assert.equal(asked.length, 2);
      assert.ok(statSync(partial).size > 0);
    });

    test('is fetched whole once when the earlier part turns out wrong', async () => {
      await writeFile(partial, Buffer.alloc(100_000, 'x'));
      assert.equal(await ensure(), true);
      await complete();
      assert.deepEqual(ranges(), ['bytes=100000-', 'bytes=0-']);
      assert.ok(lines.includes('with the earlier part the sha256 is wrong: fetching the wheel whole'));
    });

    test('is refused after the second fetch when the index has other bytes', async () => {
      await writeFile(partial, bytes.subarray(0, 100_000));
      pin = { ...pin, sha256: '0'.repeat(64) };
      await assert.rejects(ensure(), { code: 'wheel-mismatch' });
      assert.deepEqual(ranges(), ['bytes=100000-', 'bytes=0-']);
      assert.deepEqual([existsSync(dir), await wheels()], [false, []]);
    });

    test('is left to pip, which is said, where the server does not tell its length', async () => {
      await writeFile(partial, bytes.subarray(0, 100_000));
      manner = { ...manner, ranges: false, length: false };
      assert.equal(await ensure(), true);
      await complete();
      assert.deepEqual(ranges(), ['bytes=100000-', undefined]);
      assert.ok(lines.some((line) => /^leaving the download to pip, .*status 200, -1 bytes/.test(line)));
    });

    test('that lies complete from an interrupted setup is not asked for', async () => {
      await writeFile(partial, bytes);
      assert.equal(await ensure(), true);
      await complete();
      assert.deepEqual(asked, []);
    });
  });
});

test('a lock is held by one at a time, in the order of asking or not, and by nobody at the end', async () => {
  const file = join(folder, 'locks', 'a');
  let inside = 0;
  let most = 0;
  const enter = () =>
    withLock(
      file,
      () => undefined,
      async () => {
        inside += 1;
        most = Math.max(most, inside);
        await new Promise(setImmediate);
        inside -= 1;
      },
    );
  await Promise.all([enter(), enter(), enter()]);
  assert.equal(most, 1);
  assert.deepEqual(await readdir(join(folder, 'locks')), []);
});

test('a lock and a temporary folder of a dead process are taken over, those of a live one are not', async () => {
  const dead = spawn(process.execPath, ['-e', '']);
  const name = identity(dead.pid ?? 0);
  assert.ok(name);
  const owner = `${name}@${hostname()}`;
  await new Promise((resolve) => dead.on('exit', resolve));
  await writeFile(join(folder, 'lock'), owner);
  await mkdir(join(folder, 'tmp', `${owner}-left`), { recursive: true });
  let waited = false;
  const result = await withLock(
    join(folder, 'lock'),
    () => {
      waited = true;
    },
    async () => 'done',
  );
  assert.deepEqual([result, waited], ['done', false]);
  const [first, second] = [temporary(folder), temporary(folder)];
  assert.notEqual(first, second);
  const names = await readdir(join(folder, 'tmp'));
  assert.deepEqual(names.map((name) => join(folder, 'tmp', name)).sort(), [first, second].sort());
});

test('what another host holds is left alone until it is hours old', async () => {
  const foreign = join(folder, 'tmp', '1-1@another-host-abcd');
  await mkdir(foreign, { recursive: true });
  temporary(folder);
  assert.ok(existsSync(foreign));
  const hoursAgo = Date.now() / 1000 - 3 * 3600;
  await utimes(foreign, hoursAgo, hoursAgo);
  temporary(folder);
  assert.equal(existsSync(foreign), false);
});

test('a signal reaches the child, and we die of it after the child', async () => {
  const child = `setInterval(() => {}, 1000); process.on('SIGTERM', () => { console.log('child ends'); process.exit(0); });
    console.log('ready')`;
  const script = `const { runChild } = await import(${JSON.stringify(plain('child.mjs'))});
    await runChild(process.execPath, ['-e', ${JSON.stringify(child)}], { stdout: 'inherit' });
    console.log('not reached')`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  parent.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
    if (text.includes('ready')) parent.kill('SIGTERM');
  });
  const signal = await new Promise((resolve) => parent.on('close', (_, name) => resolve(name)));
  assert.equal(signal, 'SIGTERM');
  assert.equal(output, 'ready\nchild ends\n');
});

test('MEDIUM_RECIPE_CACHE moves the cache folder', () => {
  const before = process.env['MEDIUM_RECIPE_CACHE'];
  try {
    process.env['MEDIUM_RECIPE_CACHE'] = folder;
    assert.equal(cacheRoot(), folder);
  } finally {
    if (before === undefined) delete process.env['MEDIUM_RECIPE_CACHE'];
    else process.env['MEDIUM_RECIPE_CACHE'] = before;
  }
});
