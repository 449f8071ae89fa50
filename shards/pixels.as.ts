// One WebAssembly module, and so one memory, from a JPEG's bytes to resized and blended RGB.

export * from './jpeg/planes.as';
export * from './resize/axis.part.as';
export * from './resize/planes.part.as';
export * from './resize/resize.as';
