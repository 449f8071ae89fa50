// The door of the room: what the other rooms may use.
export { type PackOptions, type PackProgress, pack } from './pack.ts';
export { REJECTS_FILE, type Reject, type RejectCode } from './rejects.ts';
