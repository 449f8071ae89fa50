// An expected reason why the native backend cannot be had: what happened and what a person can do about it.
// Not the `Fault` of #shards, which lives in dist/ and does not exist yet when setup runs.

export class SetupFailure extends Error {
  /**
   * @param {string} code kebab-case and stable
   * @param {string} received what happened, one line
   * @param {string} remedy what to do, one line
   */
  constructor(code, received, remedy) {
    super(`${code}: ${received}; ${remedy}`.replaceAll('\n', ' '));
    this.name = 'SetupFailure';
    this.code = code;
  }
}
