// A pool's task that does nothing: what matters is the worker that is started for it.

export default (): void => undefined;
