// Other ways to do the same: the compressor alone, QEMU's own tools, the older tool, restic.
import { cpus } from 'node:os';
import { join } from 'node:path';
import { sh } from '../test/support/shell.ts';
import { installed } from './installed.ts';
import { requireUnpacks } from './our-sides.ts';
import type { Scene } from './scene.ts';
import type { Side } from './side.ts';

const cores = cpus().length;

/** The compressor alone: the least that any way needs. */
export function compressorSides(scene: Scene): Side[] {
  const { data, pieces, compressed, compressedPieces } = scene;
  const onAll = (files: string, command: string): string =>
    `ls ${files} | xargs -P ${cores} -I PIECE sh -c '${command} < PIECE > /dev/null'`;
  const same = (): Promise<string> =>
    sh('bash', '-c', `igzip -dc < '${compressed}' | cmp - '${data}'`);
  return [
    {
      id: 'igzip',
      name: 'igzip -1 of the same bytes, one process',
      needs: ['data'],
      line: `igzip -1 -c < '${data}' > /dev/null`,
      check: same,
    },
    {
      id: 'igzip-cores',
      name: `igzip -1 on ${cores} cores at once`,
      needs: ['pieces'],
      line: onAll(pieces, 'igzip -1 -c'),
      check: () => sh('bash', '-c', `cat ${compressedPieces} | igzip -dc | cmp - '${data}'`),
    },
    {
      id: 'igunzip',
      name: 'igzip -dc of them, one process',
      needs: ['data'],
      line: `igzip -dc < '${compressed}' > /dev/null`,
      check: same,
    },
    {
      id: 'igunzip-cores',
      name: `igzip -dc on ${cores} cores at once`,
      needs: ['pieces'],
      line: onAll(compressedPieces, 'igzip -dc'),
    },
  ];
}

/** Other tools that make a backup of the disk. Those that are missing and cannot be installed are left out, with a line. */
export async function otherSides(scene: Scene): Promise<Side[]> {
  return [convertAndCompress(scene), ...olderSteps(scene), ...(await restic(scene))];
}

function convertAndCompress({ folder, raw }: Scene): Side {
  const [image, output] = [join(folder, 'converted.qcow2'), join(folder, 'converted.zst')];
  return {
    id: 'convert-zstd',
    name: 'qemu-img convert, zstd -T0',
    line: `qemu-img convert -f raw -O qcow2 '${raw.disk}' '${image}' && zstd -q -T0 '${image}' -o '${output}' && rm '${image}'`,
    output,
    async check() {
      await sh('zstd', '-q', '-d', output, '-o', image);
      await sh('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', raw.disk, image);
      await sh('rm', image);
    },
  };
}

/** What the older tool did: copy or convert into a folder, then `tar -czS`. */
function olderSteps({ folder, raw, qcow2 }: Scene): Side[] {
  const [staging, output] = [join(folder, 'older'), join(folder, 'older.tar.gz')];
  const steps = (step: string): string =>
    `mkdir -p '${staging}' && cd '${staging}' && ${step} && cp '${raw.xml}' vm.xml && tar -czSf '${output}' . && rm -r '${staging}'`;
  return [
    {
      id: 'older-raw',
      name: 'older steps, raw: cp, tar -czS',
      mostRounds: 2,
      line: steps(`cp --sparse=always '${raw.disk}' backup.disk.0`),
      output,
      check: () => requireUnpacks(output, raw.disk, 'raw'),
    },
    {
      id: 'older-qcow2',
      name: 'older steps, qcow2: convert, tar -czS',
      needs: ['qcow2'],
      mostRounds: 2,
      line: steps(`qemu-img convert -f qcow2 -O qcow2 '${qcow2.disk}' backup.disk.0`),
      output,
      check: () => requireUnpacks(output, qcow2.disk, 'qcow2'),
    },
  ];
}

async function restic({ folder, raw }: Scene): Promise<Side[]> {
  if (!(await installed('restic', 'restic'))) return [];
  const [, version] = (await sh('restic', 'version')).split(' ');
  const output = join(folder, 'restic');
  const env = {
    RESTIC_REPOSITORY: output,
    RESTIC_PASSWORD: 'bench',
    RESTIC_CACHE_DIR: join(folder, 'restic-cache'),
  };
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return [
    {
      id: 'restic',
      name: `restic ${version ?? ''} backup, into an empty repository`,
      line: `restic backup -q '${raw.disk}'`,
      env,
      output,
      before: () => sh('env', ...variables, 'restic', 'init', '-q'),
      async check() {
        const dump = `env "$@" restic dump -q latest '${raw.disk}' | cmp - '${raw.disk}'`;
        await sh('bash', '-o', 'pipefail', '-c', dump, 'dump', ...variables);
      },
    },
  ];
}
