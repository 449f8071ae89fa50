// Whether a stored JPEG is what the format card says and decodes to its end.

import { readJpegHeader } from '../jpeg-header.ts';
import { decodeJpeg } from '../libjpeg-turbo.ts';

/** What the image is instead of a baseline JPEG of 3 channels and that size, px; null where it is one. */
export function jpegComplaint(jpeg: Buffer, width: number, height: number): string | null {
  const header = readJpegHeader(jpeg);
  if (!header) return 'no JPEG with a frame and a scan';
  const { coding, arithmetic, precision, manyScans, components, colour } = header;
  if (coding !== 'sequential' || arithmetic || manyScans || precision !== 8)
    return `a ${coding} JPEG${arithmetic ? ', arithmetic,' : ''} of ${precision} bit${manyScans ? ' and many scans' : ''}`;
  if (colour !== 'YCbCr') return `a JPEG of ${components.length} channels (${colour ?? 'no known colours'})`;
  if (header.width !== width || header.height !== height) return `a JPEG of ${header.width} × ${header.height}`;
  // The stream's decoder; what it only warns of (a premature end, corrupt data) is refused, too.
  return decodeJpeg(jpeg, header) ? null : 'a JPEG that libjpeg-turbo does not decode to its end';
}
