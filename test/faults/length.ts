// How long a fault test is: `npm run faults -- --short` asks for the short form, which fits a few minutes for all of them.

export const pick = <T>(short: T, long: T): T => (process.env['MEDIUM_RECIPE_FAULTS'] === 'short' ? short : long);
