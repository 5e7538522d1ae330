// stream_disk URL: writes one disk of a bundle to stdout. It is started by datastore/downloader.sh, to which install.sh has
// added our addresses. The datastore that an address names is looked up in OpenNebula.
import { runAction } from '../../lib/datastore/action.ts';
import { onBundleHost } from '../../lib/datastore/bundle-host.ts';
import { backupDatastore } from '../../lib/datastore/backup-datastore.ts';
import { parseDiskUrl } from '../../lib/datastore/disk-url.ts';
import { openBackup } from '../../lib/datastore/open-bundle.ts';
import { diskOf } from '../../lib/restore/restorable.ts';
import { streamDisk, streamTpm } from '../../lib/datastore/stream-disk.ts';
import { askXml } from '../../lib/one/answers.ts';
import { findSession } from '../../lib/one/credentials.ts';
import { stdout } from '../../lib/report/print.ts';
import { connect } from '../../lib/session/with-run.ts';

void runAction('stream_disk', async (context) => {
  const { args, log, signal, config } = context;
  const address = parseDiskUrl(args[0] ?? '', await findSession(process.env));
  const one = await connect({ config: await config(), endpoint: undefined, log, signal });
  const { datastoreId } = address;
  const found = await askXml(one, 'DATASTORE', 'one.datastore.info', datastoreId, false);
  const datastore = backupDatastore({ name: 'ANSWER', text: '', children: [found] });
  await onBundleHost(datastore, context, async (runner) => {
    const bundle = await openBackup(datastore, address.bundle, runner, context);
    try {
      if (address.form === 'tpm') {
        await streamTpm(bundle, stdout());
        return;
      }
      const disk = diskOf(bundle, address.diskId);
      await streamDisk(bundle, disk, address.form, stdout(), signal);
    } finally {
      await bundle.close();
    }
  });
  return '';
});
