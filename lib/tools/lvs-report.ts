// What `lvs --reportformat json --units b --nosuffix` prints: {"report":[{"lv":[{field: "text", ...}]}]}.
// Fields: lvmreport(7), `lvs -o help`.
import { FailedError } from '../report/errors.ts';

export interface Volume {
  readonly group: string;
  readonly name: string;
  /** Its size, in bytes; that of a snapshot is its origin's. */
  readonly bytes: number;
  readonly active: boolean;
  /** Whether somebody has its device open, as far as this machine knows. */
  readonly open: boolean;
  readonly thin: boolean;
  /** Undefined when it is no snapshot. */
  readonly origin: string | undefined;
  /** Of a thin volume. */
  readonly pool: string | undefined;
  /** How full it is (a pool, a thick snapshot) or how much of it is mapped (a thin volume). */
  readonly dataPercent: number | undefined;
  readonly metadataPercent: number | undefined;
  /** Whether a thick snapshot has overflowed: it cannot be read any more. */
  readonly invalid: boolean;
  /** In LVM's words (`out_of_data`, `failed`, ...); empty when all is well. */
  readonly health: string;
}

export interface VolumeGroup {
  readonly name: string;
  readonly extentBytes: number;
  readonly freeBytes: number;
  readonly volumes: ReadonlyMap<string, Volume>;
}

type Row = Readonly<Record<string, string>>;

/** @throws FailedError when this is not what lvs prints. */
export function parseLvs(text: string, group: string): VolumeGroup {
  const rows = rowsOf(text, group);
  const volumes = rows.map((row): Volume => {
    const layout = (row['lv_layout'] ?? '').split(',');
    return {
      group,
      name: row['lv_name'] ?? '',
      bytes: bytes(row, 'lv_size', group),
      // "active", "active exclusively", but "active remotely" is on another machine.
      active: /^active(?! remotely)/.test(row['lv_active'] ?? ''),
      open: row['lv_device_open'] === 'open',
      thin: layout.includes('thin') && !layout.includes('pool'),
      origin: word(row['origin']),
      pool: word(row['pool_lv']),
      dataPercent: percent(row['data_percent']),
      metadataPercent: percent(row['metadata_percent']),
      // "snapshot invalid", "" or, where it does not apply, "unknown".
      invalid: (row['lv_snapshot_invalid'] ?? '').includes('invalid'),
      health: row['lv_health_status'] ?? '',
    };
  });
  const [first] = rows;
  return {
    name: group,
    extentBytes: first ? bytes(first, 'vg_extent_size', group) : 0,
    freeBytes: first ? bytes(first, 'vg_free', group) : 0,
    volumes: new Map(volumes.map((volume) => [volume.name, volume])),
  };
}

function rowsOf(text: string, group: string): readonly Row[] {
  try {
    const { report } = JSON.parse(text) as { report: { lv: Record<string, unknown>[] }[] };
    const rows = report.flatMap(({ lv }) => lv);
    // Newer forms of the report have numbers where this one has texts.
    return rows.map((row) =>
      Object.fromEntries(Object.entries(row).map(([field, value]) => [field, String(value)])),
    );
  } catch (error) {
    throw new FailedError(
      `cannot look at the volume group ${group}: lvs printed ${JSON.stringify(text.slice(0, 200))}`,
      { cause: error },
    );
  }
}

function bytes(row: Row, field: string, group: string): number {
  const text = row[field] ?? '';
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new FailedError(
    `cannot look at the volume group ${group}: lvs printed ${JSON.stringify(text)} for ${field}`,
  );
}

function percent(text: string | undefined): number | undefined {
  return text === undefined || !/^\d+(\.\d+)?$/.test(text) ? undefined : Number(text);
}

function word(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : text;
}
