// The header of a qcow2 file as this tool writes it.
import { headerFields, headerLengths, qcow2Magic, refcountOrder16 } from './format.ts';
import type { Qcow2Header } from './header.ts';

/**
 * The first cluster of a file of version 3 without a backing file and snapshots, and with refcounts of 16 bits.
 * @param header places and sizes in bytes
 */
export function writeQcow2Header(
  header: Pick<
    Qcow2Header,
    | 'clusterSize'
    | 'virtualSize'
    | 'l1Entries'
    | 'l1Offset'
    | 'refcountTableOffset'
    | 'refcountTableClusters'
  >,
): Buffer {
  const cluster = Buffer.alloc(header.clusterSize);
  const values: Partial<Record<keyof typeof headerFields, number>> = {
    magic: qcow2Magic,
    version: 3,
    clusterBits: Math.log2(header.clusterSize),
    virtualSize: header.virtualSize,
    l1Entries: header.l1Entries,
    l1Offset: header.l1Offset,
    refcountTableOffset: header.refcountTableOffset,
    refcountTableClusters: header.refcountTableClusters,
    refcountOrder: refcountOrder16,
    headerLength: headerLengths[3],
  };
  for (const [name, { offset, bytes }] of Object.entries(headerFields)) {
    const value = values[name as keyof typeof headerFields] ?? 0;
    if (bytes === 8) cluster.writeBigUInt64BE(BigInt(value), offset);
    else cluster.writeUInt32BE(value, offset);
  }
  return cluster;
}
