// The file names of bundles. DO NOT CHANGE: retention, the backup datastore and `list` find bundles by them.
import { ownPrefix } from '../../run/own-prefix.ts';
import { compressionNames, compressions, type Compression } from '../compression/compressions.ts';

/** What the name of a bundle says. */
export interface BundleNameFacts {
  readonly vmId: number;
  /** When the export began, in seconds. */
  readonly epoch: number;
  readonly compression: Compression;
}

/** The file name of a bundle. */
export function bundleName({ vmId, epoch, compression }: BundleNameFacts): string {
  return `${ownPrefix}${vmId}-${epoch}.${compressions[compression].extension}`;
}

/** Parses a name that `bundleName` has made; undefined for any other name. */
export function parseBundleName(name: string): BundleNameFacts | undefined {
  const [, vmId, epoch, ending] =
    /^onevmdump-(0|[1-9]\d{0,14})-(0|[1-9]\d{0,11})\.(.+)$/.exec(name) ?? [];
  const compression = compressionNames.find((one) => compressions[one].extension === ending);
  return compression && { vmId: Number(vmId), epoch: Number(epoch), compression };
}

/** Whether a file can be a bundle, judged by its name, which a user may have chosen. */
export function endsLikeBundle(name: string): boolean {
  const extensions = compressionNames.map((one) => compressions[one].extension);
  return [...extensions, 'tgz'].some((extension) => name.endsWith(`.${extension}`));
}
