// sharp for pool workers, loaded when the first image needs it: most data sets have none, and it takes a worker 60 ms.

export async function loadSharp(): Promise<typeof import('sharp').default> {
  const { default: sharp } = await import('sharp');
  // One image a worker at a time; libvips' own threads would multiply with the workers, and no image comes twice.
  sharp.concurrency(1);
  sharp.cache(false);
  return sharp;
}
