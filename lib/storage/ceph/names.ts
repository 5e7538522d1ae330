// The names of RBD images and of their snapshots. DO NOT CHANGE: other runs, `cleanup` and OpenNebula itself find
// them by these names.
import { ownPrefix } from '../../run/own-prefix.ts';

/** The RBD image of a volatile disk. If no pool is named, it is in OpenNebula's default pool. */
export function volatileRbdImage(pool: string | undefined, vmId: number, diskId: number): string {
  return `${pool ?? 'one'}/one-sys-${vmId}-${diskId}`;
}

/** The RBD image that OpenNebula clones from an image (its SOURCE) for a VM's disk. */
export function clonedRbdImage(source: string, vmId: number, diskId: number): string {
  return `${source}-${vmId}-${diskId}`;
}

/** The snapshot that one run makes of each of a VM's RBD images. */
export function rbdSnapshot(runId: string): string {
  return `${ownPrefix}${runId}`;
}
