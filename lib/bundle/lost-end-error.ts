// The error of a bundle that lost its end.
import { BundleError } from '../report/errors.ts';

/**
 * A bundle cannot be read any further: the file ends early, or its compressed data are damaged. If the bundle has no
 * index, what comes before this place can be salvaged.
 */
export class LostEndError extends BundleError {}
