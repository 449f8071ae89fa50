// The door of the room: what the other rooms may use.
export * from './errors.ts';
export * from './random.ts';
export * from './safetensors.ts';
