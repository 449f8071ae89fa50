// The one error a user may see: a code, what was received, what was expected, and the remedy.

/** Exit codes of every command: 0 done, 1 failed, 2 wrong usage. */
export type ExitCode = 1 | 2;

export interface FaultDetails {
  /** Kebab-case and stable: scripts and tests match on it. */
  readonly code: string;
  readonly received: string;
  readonly expected: string;
  readonly remedy: string;
  readonly exit?: ExitCode;
  readonly cause?: unknown;
}

/**
 * An expected failure. Anything else that is thrown is a defect and shows its stack.
 * A class does not survive a structured clone, so across threads send `toJSON()` and rebuild with `Fault.from`.
 */
export class Fault extends Error {
  readonly code: string;
  readonly received: string;
  readonly expected: string;
  readonly remedy: string;
  readonly exit: ExitCode;

  constructor(details: FaultDetails) {
    super(
      `${details.code}: ${details.received}; expected ${details.expected}; ${details.remedy}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.name = 'Fault';
    this.code = details.code;
    this.received = details.received;
    this.expected = details.expected;
    this.remedy = details.remedy;
    this.exit = details.exit ?? 1;
  }

  toJSON(): FaultDetails {
    const { code, received, expected, remedy, exit } = this;
    return { code, received, expected, remedy, exit };
  }

  static from(details: FaultDetails): Fault {
    return new Fault(details);
  }
}
