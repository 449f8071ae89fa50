// What a JPEG says of itself before its pixels: frame, colour model, profile, orientation, scans. Nothing is decoded.
//
//   file    = SOI segment* SOS entropy-coded (segment* SOS entropy-coded)* EOI
//   segment = FF+ marker length:u16be payload          length counts its own two bytes
//
// Read as libjpeg reads it, so that both see the same frame: bytes between segments are passed over, a length below two
// is taken for two. Every index is checked: whatever the bytes, the answer is a header or null.

import { exifOrientation } from './exif.ts';

export interface JpegComponent {
  readonly id: number;
  /** Sampling factors. */
  readonly h: number;
  readonly v: number;
}

export interface JpegHeader {
  readonly coding: 'sequential' | 'progressive' | 'lossless' | 'hierarchical';
  readonly arithmetic: boolean;
  /** Bits a sample. */
  readonly precision: number;
  readonly width: number;
  readonly height: number;
  readonly components: readonly JpegComponent[];
  /** As libjpeg decides it; null for numbers of components that no model has. */
  readonly colour: 'grey' | 'YCbCr' | 'RGB' | 'CMYK' | 'YCCK' | null;
  readonly profile: boolean;
  /** EXIF, 1 … 8; 1 where there is none or it is broken. */
  readonly orientation: number;
  /** Where the first scan's entropy-coded bytes begin. */
  readonly scanStart: number;
  /** The first scan does not hold all there is: later ones add to it. */
  readonly manyScans: boolean;
}

const SOI = 0xd8;
const EOI = 0xd9;
const SOS = 0xda;

/** Null where no frame and scan are found; `jpegEndsEarly` says whether the file just stops there. */
export function readJpegHeader(file: Buffer): JpegHeader | null {
  let frame: Frame | null = null;
  let jfif = false;
  let adobe: number | null = null;
  let profile = false;
  let orientation: number | null = null;
  for (const { marker, payload, end } of segments(file)) {
    if (isFrame(marker)) {
      if (frame) return null;
      frame = readFrame(marker, payload);
      if (!frame) return null;
    } else if (marker === 0xe0) jfif ||= startsWith(payload, 'JFIF\0');
    else if (marker === 0xe1 && startsWith(payload, 'Exif\0\0')) orientation ??= exifOrientation(payload.subarray(6));
    else if (marker === 0xe2) profile ||= startsWith(payload, 'ICC_PROFILE\0');
    else if (marker === 0xee && startsWith(payload, 'Adobe') && payload.length >= 12) adobe = payload[11] as number;
    else if (marker === SOS) {
      if (!frame) return null;
      const manyScans = frame.coding === 'progressive' || (payload[0] ?? 0) < frame.components.length;
      const colour = colourModel(frame.components, { jfif, adobe });
      return { ...frame, colour, profile, orientation: orientation ?? 1, scanStart: end, manyScans };
    }
  }
  return null;
}

/** What lies from the first scan to the end. */
export interface JpegScans {
  /** Counted no further than asked. */
  readonly scans: number;
  /** `cut`: the file stops, or another one begins, before the end marker. `damaged`: a marker that does not exist. */
  readonly ending: 'whole' | 'cut' | 'damaged';
}

/** Walks over all scans; decoders make up what is missing and may not say so. */
export function walkScans(file: Buffer, scanStart: number, most: number): JpegScans {
  let scans = 1;
  for (const { marker } of segments(file, scanStart)) {
    if (marker === EOI) return { scans, ending: 'whole' };
    if (marker === SOI) return { scans, ending: 'cut' };
    if (isReserved(marker)) return { scans, ending: 'damaged' };
    if (marker === SOS && ++scans >= most) return { scans, ending: 'whole' };
  }
  return { scans, ending: 'cut' };
}

/** The file stops before its first scan; what is wrong with it is not that where a marker cannot stand there. */
export function jpegEndsEarly(file: Buffer): boolean {
  for (const { marker } of segments(file)) if (marker === EOI || marker === SOI || isReserved(marker)) return false;
  return true;
}

interface Segment {
  readonly marker: number;
  readonly payload: Buffer;
  /** Of the segment: what follows an SOS is entropy-coded. */
  readonly end: number;
}

/**
 * Segments from `start` (by default behind SOI). EOI, a second SOI or a reserved marker is given and ends them; so does
 * the file. Entropy-coded bytes are passed over like any that belong to no segment; markers inside a payload
 * (a thumbnail's) are never seen.
 */
function* segments(file: Buffer, start = 2): Generator<Segment> {
  let at = start;
  for (;;) {
    at = file.indexOf(0xff, at);
    if (at < 0 || at + 1 >= file.length) return;
    const marker = file[at + 1] as number;
    // Fill bytes stand before a marker; FF 00 is a stuffed byte of a scan; restarts and TEM have no length.
    if (marker === 0xff) at += 1;
    else if (marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd7)) at += 2;
    else if (marker === EOI || marker === SOI || isReserved(marker)) {
      yield { marker, payload: file.subarray(at, at), end: at + 2 };
      return;
    } else {
      if (at + 4 > file.length) return;
      const end = at + 2 + Math.max(2, file.readUInt16BE(at + 2));
      if (end > file.length) return;
      yield { marker, payload: file.subarray(at + 4, end), end };
      at = end;
    }
  }
}

/** FF 02 … FF BF: no JPEG has them, in a scan or before one. */
function isReserved(marker: number): boolean {
  return marker >= 0x02 && marker < 0xc0;
}

type Frame = Pick<JpegHeader, 'coding' | 'arithmetic' | 'precision' | 'width' | 'height' | 'components'>;

/** SOF0 … SOF15 without DHT, JPG and DAC, which stand among them. */
function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

/** precision:u8 height:u16 width:u16 n:u8 (id:u8 sampling:u4u4 table:u8)×n */
function readFrame(marker: number, payload: Buffer): Frame | null {
  if (payload.length < 6) return null;
  const count = payload[5] as number;
  if (payload.length < 6 + 3 * count) return null;
  const components = Array.from({ length: count }, (_, i) => {
    const sampling = payload[7 + 3 * i] as number;
    return { id: payload[6 + 3 * i] as number, h: sampling >> 4, v: sampling & 15 };
  });
  const kind = marker & 7;
  return {
    coding: kind > 3 ? 'hierarchical' : kind === 3 ? 'lossless' : kind === 2 ? 'progressive' : 'sequential',
    arithmetic: marker > 0xc8,
    precision: payload[0] as number,
    width: payload.readUInt16BE(3),
    height: payload.readUInt16BE(1),
    components,
  };
}

interface ColourMarkers {
  readonly jfif: boolean;
  /** The transform that Adobe's marker names. */
  readonly adobe: number | null;
}

function colourModel(components: readonly JpegComponent[], { jfif, adobe }: ColourMarkers): JpegHeader['colour'] {
  switch (components.length) {
    case 1:
      return 'grey';
    case 3: {
      if (jfif) return 'YCbCr';
      if (adobe !== null) return adobe === 0 ? 'RGB' : 'YCbCr';
      return components.map(({ id }) => String.fromCharCode(id)).join('') === 'RGB' ? 'RGB' : 'YCbCr';
    }
    case 4:
      return adobe === 2 ? 'YCCK' : 'CMYK';
    default:
      return null;
  }
}

function startsWith(payload: Buffer, text: string): boolean {
  return payload.length >= text.length && payload.toString('latin1', 0, text.length) === text;
}
