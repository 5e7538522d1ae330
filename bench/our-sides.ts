// What onevmdump is measured at: exports, and what is done with a bundle.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { compressionNames } from '../lib/bundle/compression/compressions.ts';
import { sh } from '../test/support/shell.ts';
import { onevmdump, type Scene, type SceneVm } from './scene.ts';
import type { Side } from './side.ts';

export function exportSides(scene: Scene): Side[] {
  const { folder, env, raw, qcow2, wide } = scene;
  const output = join(folder, 'bundle');
  const side = (id: string, name: string, vm: SceneVm, more = ''): Side => ({
    id,
    name,
    needs: vm === qcow2 ? ['qcow2'] : vm === wide ? ['wide'] : [],
    line: `'${onevmdump}' export --stdin -L -d '${output}' ${more} < '${vm.xml}'`,
    env,
    output,
    check: () => requireUnpacks(output, vm.disk, vm === qcow2 ? 'qcow2' : 'raw'),
  });
  return [
    side('export-raw-gzip', 'export, raw, gzip', raw),
    side('export-qcow2-gzip', 'export, qcow2, gzip', qcow2),
    ...compressionNames
      .filter((name) => name !== 'gzip')
      .map((name) => side(`export-raw-${name}`, `export, raw, ${name}`, raw, `--compress ${name}`)),
    side('export-wide', 'export, raw, gzip, 20 GiB of virtual size', wide),
  ];
}

export function bundleSides(scene: Scene): Side[] {
  const { folder, env, bundle, raw } = scene;
  const extracted = join(folder, 'extracted.raw');
  return [
    {
      id: 'verify',
      name: 'verify',
      needs: ['bundle'],
      line: `'${onevmdump}' verify '${bundle}'`,
      env,
    },
    {
      id: 'extract',
      name: 'extract: a restore to a staged file',
      needs: ['bundle'],
      line: `'${onevmdump}' extract '${bundle}' --disk 0 -o '${extracted}'`,
      env,
      output: extracted,
      check: () => sh('cmp', extracted, raw.disk),
    },
    restoreSide(scene, {
      id: 'restore-staged',
      name: 'restore, staged, with the copying by the datastore',
      delivery: 'staged',
    }),
    restoreSide(scene, {
      id: 'restore-fetched',
      name: 'restore, which the datastore fetches from the bundle',
      delivery: 'address',
    }),
  ];
}

function restoreSide(
  scene: Scene,
  {
    id,
    name,
    delivery,
  }: { readonly id: string; readonly name: string; readonly delivery: 'staged' | 'address' },
): Side {
  const { env, bundle, raw, sandbox, location } = scene;
  return {
    ...{ id, name },
    needs: ['bundle', 'installed'],
    line: `'${onevmdump}' restore '${bundle}' --delivery ${delivery}`,
    env: { ...env, ONE_LOCATION: location },
    before: () => forgetRestored(scene),
    async check() {
      await sandbox.settle();
      const [image] = sandbox.world.images.values();
      if (!image || sandbox.world.templates.size !== 1) throw new Error('nothing was restored');
      await sh('qemu-img', 'compare', '-f', 'raw', '-F', image.format, raw.disk, image.source);
      await forgetRestored(scene);
    },
  };
}

/** Removes images and templates of the round before, since names are unique and images take space. */
async function forgetRestored({ sandbox: { world } }: Scene): Promise<void> {
  for (const { source } of world.images.values()) await rm(source, { force: true });
  world.images.clear();
  world.templates.clear();
}

/** @throws Error when what GNU tar unpacks of a bundle is not the disk */
export async function requireUnpacks(
  bundle: string,
  disk: string,
  format: 'raw' | 'qcow2',
): Promise<void> {
  const folder = `${bundle}.unpacked`;
  await sh('mkdir', folder);
  try {
    await sh('tar', '-xf', bundle, '-C', folder);
    const unpacked = join(folder, 'backup.disk.0');
    await sh('qemu-img', 'compare', '-f', format, '-F', format, disk, unpacked);
  } finally {
    await rm(folder, { recursive: true });
  }
}
