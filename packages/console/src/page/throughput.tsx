/** How much is read and written, over the last two minutes. */
import { rate } from './units.ts'

/** Bytes a second between two looks. */
export interface Sample {
  readonly read: number
  readonly written: number
}

const width = 300
const height = 64
/** Samples that are shown. */
export const longestHistory = 120

export function Throughput({ samples }: { readonly samples: readonly Sample[] }) {
  const most = Math.max(1, ...samples.flatMap(({ read, written }) => [read, written]))
  const last = samples.at(-1) ?? { read: 0, written: 0 }
  return (
    <div class="throughput">
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img">
        <title>Bytes read and written in a second</title>
        <polyline class="read" points={pointsOf(samples.map(({ read }) => read / most))} />
        <polyline class="written" points={pointsOf(samples.map(({ written }) => written / most))} />
      </svg>
      <div class="line small">
        <span class="read">read {rate(last.read)}</span>
        <span class="written">written {rate(last.written)}</span>
        <span>peak {rate(most === 1 ? 0 : most)}</span>
      </div>
    </div>
  )
}

/** The newest at the right edge. */
function pointsOf(shares: readonly number[]): string {
  const step = width / (longestHistory - 1)
  const first = width - (shares.length - 1) * step
  return shares.map((share, i) => `${first + i * step},${height - 2 - share * (height - 4)}`).join(' ')
}
