// A font of its own: text in a picture looks the same on every machine, one without fonts included.

/** Pixels of a character: seven rows, and two more below the line. */
const GLYPH_WIDTH = 5;
export const GLYPH_HEIGHT = 9;
/** Pixels from one character to the next. */
export const ADVANCE = GLYPH_WIDTH + 1;

/** ASCII 32 … 126, a digit of base 32 a row from the top: its five bits are the row's pixels from the left. */
const GLYPHS = (
  '0000000 4444404 aa00000 aavavaa 4fke5u4 pp248jj ciiclid 4400000 2488842 8422248 04lel40 044v440 ' +
  '000000448 000e000 0000004 11248gg ehjlphe 4c4444e eh168gv eh161he 26aiv22 vgu11he 68guhhe v124488 ' +
  'ehhehhe ehhf12c 0040040 004000448 1248421 00v0v00 g84248g eh12404 ehnlnge ehhvhhh uhhuhhu ehggghe ' +
  'uhhhhhu vgguggv vgguggg ehgnhhe hhhvhhh e44444e 72222ic hikokih ggggggv hrllhhh hppljjh ehhhhhe ' +
  'uhhuggg ehhhlid uhhukih fgge11u v444444 hhhhhhe hhhhaa4 hhhllrh hha4ahh hha4444 v1248gv e88888e ' +
  'gg84211 e22222e 4ah0000 000000v 8400000 00e1fhf gguhhhu 00fgggf 11fhhhf 00ehvge 68u8888 00fhhhf1e ' +
  'ggmphhh 40c444e 2062222ic ggikoki c44444e 00qllll 00mphhh 00ehhhe 00uhhhugg 00fhhhf11 00mpggg ' +
  '00fge1u 88u8886 00hhhjd 00hhha4 00hllla 00ha4ah 00hhhhf1e 00v248v 2448442 4444444 8442448 008l200'
).split(' ');

/** The characters that can be drawn: accents are dropped, what is left outside of ASCII is '?'. */
export function drawable(text: string): string {
  return text
    .normalize('NFD')
    .replaceAll(/\p{Mark}/gu, '')
    .replaceAll(/[^ -~]/gu, '?');
}

/** Calls `dot` with the column and row of every black pixel of a line of text. */
export function drawText(text: string, dot: (x: number, y: number) => void): void {
  for (const [i, character] of [...drawable(text)].entries()) {
    const glyph = GLYPHS[character.charCodeAt(0) - 32] as string;
    for (const [y, digit] of [...glyph].entries()) {
      const row = Number.parseInt(digit, 32);
      for (let x = 0; x < GLYPH_WIDTH; x++) if ((row >> (GLYPH_WIDTH - 1 - x)) & 1) dot(i * ADVANCE + x, y);
    }
  }
}
