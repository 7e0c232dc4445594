/** Who may use a server, by the distinguished name of the client's certificate. */
import type { TypeOf } from '@diskgraph/qapi'

type Rules = TypeOf<'AuthZListProperties'>

/** Whether a name may pass: the first rule that fits it decides, the policy where none does. */
export function isAuthorized({ policy = 'deny', rules = [] }: Rules, name: string): boolean {
  const rule = rules.find(({ match, format }) => (format === 'glob' ? globTest(match)(name) : name === match))
  return (rule?.policy ?? policy) === 'allow'
}

/** Whether a name fits a pattern with `*` and `?`. */
function globTest(pattern: string): (name: string) => boolean {
  const parts = pattern.split(/([*?])/).map((part) => {
    if (part === '*') return '.*'
    return part === '?' ? '.' : part.replace(/[\\^$.|+()[\]{}]/g, '\\$&')
  })
  const test = new RegExp(`^${parts.join('')}$`, 's')
  return (name) => test.test(name)
}
