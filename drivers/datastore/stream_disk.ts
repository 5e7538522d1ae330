// stream_disk URL: writes one disk of a bundle to stdout. It is started by datastore/downloader.sh, to which install.sh has
// added our addresses. The datastore that an address names is looked up in OpenNebula.
import { runAction } from '../../lib/datastore/action.ts';
import { withAddressedDisk } from '../../lib/datastore/addressed-bundle.ts';
import { backupDatastore } from '../../lib/datastore/backup-datastore.ts';
import { diskOf } from '../../lib/restore/restorable.ts';
import { streamDisk, streamTpm } from '../../lib/datastore/stream-disk.ts';
import { askXml } from '../../lib/one/answers.ts';
import { stdout } from '../../lib/report/print.ts';
import { connect } from '../../lib/session/with-run.ts';

void runAction('stream_disk', async (context) => {
  const { args, log, signal, config } = context;
  await withAddressedDisk(args[0] ?? '', context, knownToOned, async ({ bundle, diskId, form }) => {
    if (form === 'tpm') await streamTpm(bundle, stdout());
    else await streamDisk(bundle, diskOf(bundle, diskId), form, stdout(), signal);
  });
  return '';

  async function knownToOned(id: number) {
    const one = await connect({ config: await config(), endpoint: undefined, log, signal });
    const found = await askXml(one, 'DATASTORE', 'one.datastore.info', id, false);
    return backupDatastore({ name: 'ANSWER', text: '', children: [found] });
  }
});
