/** Opens nodes that show a file on a web server. */
import { type OpenContext, type OpenImage, withoutSecrets } from '@diskgraph/core/driver'
import { openRemote } from '../reading/image.ts'
import { HttpFile } from './file.ts'
import type { HttpSettings } from './settings.ts'
import type { MakeTransport } from './transport.ts'

/** The image of a file on a web server. Warns where the server does not tell versions of the file apart. */
export async function openHttp(
  context: OpenContext,
  settings: HttpSettings,
  makeTransport: MakeTransport,
): Promise<OpenImage> {
  const file = new HttpFile(settings, await makeTransport(settings))
  const image = await openRemote(settings.url.href, file, settings, context.signal)
  if (!file.isVersioned) {
    context.warn(
      `'${withoutSecrets(settings.url.href)}': the server tells neither ETag nor Last-Modified; ` +
        'a change of the file while it is open is noticed only by its size',
    )
  }
  return image
}
