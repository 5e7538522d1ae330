// What `lvs --reportformat json --units b --nosuffix` prints: {"report":[{"lv":[{field: "text", ...}]}]}.
// Fields: lvmreport(7), `lvs -o help`.
import { list, object } from '../run/json-object.ts';
import { made, parseShape } from '../run/json-shape.ts';
import { unexpectedOutput } from '../run/unexpected-output.ts';

export interface Volume {
  readonly group: string;
  readonly name: string;
  /** Its size in bytes; a snapshot has the size of its origin. */
  readonly bytes: number;
  readonly active: boolean;
  /** Whether a program on this machine has its device open. */
  readonly open: boolean;
  readonly thin: boolean;
  /** Undefined when it is not a snapshot. */
  readonly origin: string | undefined;
  /** The pool of a thin volume. */
  readonly pool: string | undefined;
  /** How full it is (a pool, a thick snapshot) or how much of it is mapped (a thin volume). */
  readonly dataPercent: number | undefined;
  readonly metadataPercent: number | undefined;
  /** Whether a thick snapshot has overflowed, so that it can no longer be read. */
  readonly invalid: boolean;
  /** In LVM's words (`out_of_data`, `failed`, ...); empty for a healthy volume. */
  readonly health: string;
}

export interface VolumeGroup {
  readonly name: string;
  readonly extentBytes: number;
  readonly freeBytes: number;
  readonly volumes: ReadonlyMap<string, Volume>;
}

/** Newer forms of the report have numbers where the older one has texts. */
function asText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'number' ? String(value) : undefined;
}

const field = made('a text or a number', asText);
const bytes = made('a number of bytes', (value) => {
  const text = asText(value) ?? '';
  return /^\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : undefined;
});

/** Every field that lvs is asked for; it prints all of them, empty where they do not apply. */
const rowFields = {
  lv_name: field,
  lv_size: bytes,
  lv_active: field,
  lv_device_open: field,
  lv_layout: field,
  origin: field,
  pool_lv: field,
  data_percent: field,
  metadata_percent: field,
  lv_snapshot_invalid: field,
  lv_health_status: field,
  vg_extent_size: bytes,
  vg_free: bytes,
};

/** The value of the option `-o`. */
export const lvsFields = Object.keys(rowFields).join(',');

const reportShape = object({ report: list(object({ lv: list(object(rowFields)) })) });

/** Parses the report. @throws CommandError when it does not have this form. */
export function parseLvs(text: string, group: string): VolumeGroup {
  const doing = `look at the volume group ${group}`;
  const { report } = parseShape(reportShape, text, (why) =>
    unexpectedOutput('lvs', doing, { stdout: text, why }),
  );
  const rows = report.flatMap(({ lv }) => lv);
  const volumes = rows.map((row): Volume => {
    const layout = row.lv_layout.split(',');
    return {
      group,
      name: row.lv_name,
      bytes: row.lv_size,
      // Also "active exclusively"; but "active remotely" is on another machine.
      active: /^active(?! remotely)/.test(row.lv_active),
      open: row.lv_device_open === 'open',
      thin: layout.includes('thin') && !layout.includes('pool'),
      origin: word(row.origin),
      pool: word(row.pool_lv),
      dataPercent: percent(row.data_percent),
      metadataPercent: percent(row.metadata_percent),
      // "snapshot invalid", "", or "unknown" where it does not apply.
      invalid: row.lv_snapshot_invalid.includes('invalid'),
      health: row.lv_health_status,
    };
  });
  const [first] = rows;
  return {
    name: group,
    extentBytes: first?.vg_extent_size ?? 0,
    freeBytes: first?.vg_free ?? 0,
    volumes: new Map(volumes.map((volume) => [volume.name, volume])),
  };
}

function percent(text: string): number | undefined {
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) : undefined;
}

function word(text: string): string | undefined {
  return text === '' ? undefined : text;
}
