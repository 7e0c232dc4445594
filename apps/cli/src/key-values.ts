import { CommandError } from '@diskgraph/tools'

/** Lists of options that are given piece by piece: `-o a=b -o c=d`. */
export { asksForHelp, type KeyValue, parseKeyValues, toObject } from '@diskgraph/qapi'

/** Adds the value of one more `-o` to those before. */
export function joinOptions(before: string | undefined, added: string): string {
  if (!isOptionList(added)) throw new CommandError(`Invalid option list: ${added}`)
  return before === undefined ? added : `${before},${added}`
}

/** Lists that could change the meaning of their neighbours when they are joined are refused. */
function isOptionList(text: string): boolean {
  const endsOpen = (/,*$/.exec(text)?.[0].length ?? 0) % 2 === 1
  return text !== '' && !text.startsWith(',') && !endsOpen
}
