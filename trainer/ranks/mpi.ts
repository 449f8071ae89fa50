// MPI out of its shared library, by koffi: what a Collective needs of it, in Open MPI's or MPICH's binary interface.

import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import type { LibraryHandle } from 'koffi';
import { Fault } from '#shards';
import type { Collective } from './collective.ts';

/** What the launchers tell their processes: Open MPI's mpirun, MPICH's, and whoever speaks PMIx (srun). */
const OPEN_MPI_SIZE = 'OMPI_COMM_WORLD_SIZE';
const MPICH_SIZE = 'PMI_SIZE';
const PMIX = 'PMIX_RANK';
const LIBRARY = 'MEDIUM_RECIPE_MPI';
const OPEN_MPI = ['libmpi.so.40', 'libmpi.40.dylib'];
const MPICH = ['libmpich.so.12', 'libmpi.so.12', 'libmpi.12.dylib'];
const EITHER = ['libmpi.so', 'libmpi.dylib'];
/** MPICH's handles are numbers, the same in all that keep its binary interface (Intel MPI, MVAPICH). */
const MPICH_HANDLES = { world: 0x44000000, byte: 0x4c00010d };

/** How long a gathering is asked for without a pause, ms; then pauses of an eighth of the wait so far, at most 10 ms. */
const EAGER_MS = 1;
const pauseAfter = (ms: number) => Math.min(10, Math.max(1, ms / 8));

const given = (name: string) => (process.env[name] ?? '') !== '';

/** Whether an MPI launcher has started this process. */
export function launchedByMpi(): boolean {
  return [OPEN_MPI_SIZE, MPICH_SIZE, PMIX].some(given);
}

/** Of the library that belongs to the launcher: another one would think that it is alone. */
function libraryNames(): string[] {
  const named = process.env[LIBRARY];
  if (named) return [named];
  return given(OPEN_MPI_SIZE) ? [...OPEN_MPI, ...EITHER] : [...MPICH, ...EITHER, ...OPEN_MPI];
}

/** Joins the processes that mpirun has started. Once a process. @throws Fault `mpi-missing`, `other-mpi`, `mpi-failed` */
export async function openMpi(): Promise<Collective> {
  const library = await loadLibrary();
  const { world, byte } = handlesOf(library);
  const handle = typeof world === 'number' ? 'int' : 'void *';
  const define = (name: string, parameters: readonly string[]) => {
    const call = library.func(name, 'int', [...parameters]) as (...values: unknown[]) => number;
    return (...values: unknown[]) => {
      const code = call(...values);
      if (code !== 0) throw mpiFailed(`${name} gave error ${code}`);
    };
  };
  const address = 'void *';
  const init = define('MPI_Init', [address, address]);
  const finalize = define('MPI_Finalize', []);
  const rankOf = define('MPI_Comm_rank', [handle, address]);
  const sizeOf = define('MPI_Comm_size', [handle, address]);
  const block = [address, 'int', handle];
  const allgather = define('MPI_Allgather', [...block, ...block, handle]);
  const iallgather = define('MPI_Iallgather', [...block, ...block, handle, address]);
  const bcast = define('MPI_Bcast', [...block, 'int', handle]);
  const test = define('MPI_Test', [address, address, address]);

  init(null, null);
  const place = new Int32Array(2);
  rankOf(world, place.subarray(0, 1));
  sizeOf(world, place.subarray(1, 2));
  const [rank = 0, ranks = 1] = place;
  const launched = process.env[OPEN_MPI_SIZE] ?? process.env[MPICH_SIZE];
  if (launched !== undefined && Number(launched) !== ranks) throw otherMpi(ranks, launched);
  // A request is a pointer or a number, a status at most 24 bytes: room for either.
  const [request, done, status] = [Buffer.alloc(16), new Int32Array(1), Buffer.alloc(64)];
  return {
    rank,
    ranks,
    gather: (own, all) => allgather(own, own.byteLength, byte, all, own.byteLength, byte, world),
    async gatherLater(own, all) {
      iallgather(own, own.byteLength, byte, all, own.byteLength, byte, world, request);
      const start = performance.now();
      for (;;) {
        test(request, done, status);
        if (done[0] !== 0) return;
        const ms = performance.now() - start;
        await (ms < EAGER_MS ? nextTurn() : delay(pauseAfter(ms)));
      }
    },
    broadcast: (bytes) => bcast(bytes, bytes.byteLength, byte, 0, world),
    // At the exit, when everything was printed: mpirun ends the others as soon as one leaves with an error, and MPI lets
    // nobody leave before all are here. A process that comes to its exit otherwise does not do this, so mpirun ends all.
    end: () => process.once('exit', () => finalize()),
  };
}

async function loadLibrary(): Promise<LibraryHandle> {
  const { default: koffi } = await import('koffi');
  const failures: string[] = [];
  for (const name of libraryNames())
    try {
      // Open MPI's plugins look for its symbols among the global ones.
      return koffi.load(name, { global: true });
    } catch (error) {
      failures.push(`${name}: ${(error as Error).message}`);
    }
  throw new Fault({
    code: 'mpi-missing',
    received: failures.join('; '),
    expected: "the launcher's MPI as a shared library",
    remedy: `install Open MPI or MPICH with its libraries (Debian: openmpi-bin), or name the library in ${LIBRARY}`,
  });
}

/** Open MPI's handles are addresses of its variables. */
function handlesOf(library: LibraryHandle): { world: unknown; byte: unknown } {
  try {
    return { world: library.symbol('ompi_mpi_comm_world'), byte: library.symbol('ompi_mpi_byte') };
  } catch {
    return MPICH_HANDLES;
  }
}

function otherMpi(ranks: number, launched: string): Fault {
  return new Fault({
    code: 'other-mpi',
    received: `an MPI library that knows of ${ranks} ranks`,
    expected: `the ${launched} ranks that the launcher has started`,
    remedy: `name the launcher's own library in ${LIBRARY}, or start with the mpirun that belongs to this one`,
  });
}

function mpiFailed(received: string): Fault {
  return new Fault({
    code: 'mpi-failed',
    received,
    expected: 'an exchange between all ranks',
    remedy: 'see what mpirun says of the ranks; start all of them again with --resume',
  });
}
