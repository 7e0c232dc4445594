import type { DriverDescriptor } from '@diskgraph/core/driver'
import { fetchTransport } from './fetch-transport.ts'
import { httpDriver } from './image.ts'
import { httpOptions, httpsOptions } from './options.ts'

export type { HttpOptions, HttpsOptions, RedirectRule } from './options.ts'

/** The driver `http`: a file on a server, read by ranges. Read-only. */
export const http: DriverDescriptor = httpDriver('http', httpOptions, fetchTransport)

/** The driver `https`: as {@link http}, over TLS, which is the browser's. */
export const https: DriverDescriptor = httpDriver('https', httpsOptions, fetchTransport)
