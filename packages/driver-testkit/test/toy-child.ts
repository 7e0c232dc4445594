/** A child of the mutation test, for the toy format with the mistake that TOY_MISTAKE names. */
import { serveMutations } from '../src/index.ts'
import { type Mistake, toyFormat } from './toy-format.ts'

serveMutations({ driver: toyFormat((process.env.TOY_MISTAKE ?? 'none') as Mistake) }, () => [
  { name: 'magic', offset: 0, width: 4 },
  { name: 'clusters', offset: 4, width: 4 },
  { name: 'size', offset: 8, width: 4 },
  ...Array.from({ length: 8 }, (_, i) => ({ name: `map ${i}`, offset: 4096 + i * 4, width: 4 })),
])
