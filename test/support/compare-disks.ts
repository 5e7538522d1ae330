// Compares the disks of two VMs of the sandbox by foreign tools.
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { sh } from './shell.ts';

export interface ComparedDisk {
  readonly id: number;
  readonly format: string;
  /** Bytes on the file system, of the original and of the restored disk with its backing image. */
  readonly allocated: number;
  readonly restoredAllocated: number;
}

/** Compares disk by disk. @throws Error when one differs */
export async function compareDisks(
  sandbox: Sandbox,
  original: number,
  restored: number,
): Promise<ComparedDisk[]> {
  const [before, after] = [original, restored].map((id) => vmDisks(sandbox, id)) as [
    ReturnType<typeof vmDisks>,
    ReturnType<typeof vmDisks>,
  ];
  if (before.length !== after.length) {
    throw new Error(`${before.length} disks became ${after.length}`);
  }
  const compared: ComparedDisk[] = [];
  for (const [index, disk] of before.entries()) {
    const copy = after[index]!;
    // qemu-img compare exits with 1 when anything differs; formats are said, never guessed.
    await sh('qemu-img', 'compare', '-f', disk.format, '-F', copy.format, disk.path, copy.path);
    compared.push({
      id: disk.id,
      format: disk.format,
      allocated: (await stat(disk.path)).blocks * 512,
      restoredAllocated: (await stat(copy.source)).blocks * 512,
    });
  }
  return compared;
}

function vmDisks(
  sandbox: Sandbox,
  vmId: number,
): { id: number; format: string; path: string; source: string }[] {
  const vm = parseVm(Buffer.from(sandbox.vmXml(vmId)));
  const folder = join(sandbox.dir, 'datastores', String(vm.history?.datastoreId), String(vmId));
  return vm.disks.map(({ id, format, source }) => {
    const path = join(folder, `disk.${id}`);
    return { id, format: format ?? 'raw', path, source: source ?? path };
  });
}
