// Every parser of input that is not trusted. Whoever writes a new one enters it here.
import type { Target } from './target.ts';
import { bundle, forgedBundle, gzipFrames, zstdFrames } from './targets/bundle.ts';
import { flips } from './targets/flips.ts';
import { guestAgent, journal, lvs, preparedFile, rbd, rbdExtents } from './targets/json.ts';
import { nbd } from './targets/nbd.ts';
import { oneAnswers, oneHttp, xmlRpc } from './targets/one.ts';
import { qcow2Header, qcow2Stream, qcow2Tables } from './targets/qcow2.ts';
import { rbdExportDiff } from './targets/rbd.ts';
import { aboutText, manifestText, regionTables, trailers } from './targets/regions.ts';
import { tar, tpm } from './targets/tar.ts';
import {
  addresses,
  backupArguments,
  bundleNames,
  diskUrls,
  programOutput,
  remoteReads,
  settings,
} from './targets/text.ts';
import { actionData, backupRequest, hookInput, libvirtXml, vmXml, xml } from './targets/xml.ts'; // prettier-ignore

export const targets: readonly Target[] = [
  ...[xml, vmXml, hookInput, actionData, backupRequest, backupArguments],
  ...[libvirtXml, guestAgent, lvs, rbd, rbdExtents, rbdExportDiff, nbd, programOutput, remoteReads],
  ...[xmlRpc, oneAnswers, oneHttp],
  ...[journal, preparedFile, settings, addresses, diskUrls, bundleNames],
  ...[qcow2Header, qcow2Tables, qcow2Stream],
  ...[tar, tpm, gzipFrames, zstdFrames, bundle, forgedBundle, flips],
  ...[manifestText, aboutText, trailers, regionTables],
];

/** @throws Error that lists the names */
export function targetNamed(name: string): Target {
  const found = targets.find((one) => one.name === name);
  if (found) return found;
  throw new Error(`there is no parser ${name}; there are ${targets.map((one) => one.name).join(', ')}`);
} // prettier-ignore
