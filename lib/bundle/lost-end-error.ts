import { BundleError } from '../report/errors.ts';

/**
 * Behind this place nothing of a bundle can be read: the file ends early, or its compressed data are damaged. What
 * stands before it can be salvaged when there is no index.
 */
export class LostEndError extends BundleError {}
