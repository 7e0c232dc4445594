/** `json:` names, good and broken: ours are read, or refused in the same words, as by the real tool. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runProgram } from '../src/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

/** Whole texts, one a line. */
const texts = String.raw`
{'driver':'null-co','size':1024}
{"driver":'null-co',"size":1.024e3}
{'driver':'null-co','size':'1\u006b'}
 {	"driver" :"null-co" }
{'driver':'null-co',}
{'driver':'null-co'
{'driver':'null-co'}}
{'driver':'null-co'} x
{'driver':'null-co'} {
{'driver':'null-co','driver':'null-co'}
{'driver':'null-co',,'size':1}
{driver:'null-co'}
{'driver':'null-co','read-zeroes':on}
{'driver':'null-co','read-zeroes':truE}
{'driver':'null-co','read-zeroes':tru
{'driver':'null-co','read_zeroes':true}
{'driver':'null-co','readZeroes':true}
{'driver':'null-co','Read-Zeroes':true}
{'driver':'null_co'}
{'driver':'null-co','driver':N}

[1]
null
"x"
1 2
}
]
,
{
{]
{,}
[[]
{"a"
{"a":
{"a":1,
{"a":[1
{"a":1]
{"a":1}]
{"a":[}
{"a":}
{"a" "b"}
{"a" "b" N}
{"a":1 "b"}
{"a":[1 2]}
{"a":[1,]}
{"a":[1,2,],"b":}
{1:2}
{true:1}
{"a":/}
{"a":%d}
{"a":01}
{"a":-01}
{"a":1.}
{"a":1.5.}
{"a":-}
{"a":-
{"a":1e}
{"a":1.5e+}
{"a":1e-
{"a":.5}
{"a":+5}
{"a":NaN}
{"a":0x10}
{"a":"b
{"a":"b	c"}
{"a":"\
{"a":"b" 'c\
`.slice(1, -1)

/** What stands in a string, which is the name of a file that is not there. */
const strings = String.raw`
a'b
a\"b
a\'b
a\/b
a\\b
%d
é漢😀
\u00e9
\ud83d\ude00
\q
\b\f\x
\ud800
\ude00
\ud83dx
\ud83d\n
\ud83d\u0041
\uDBFF\uDFFF
\u12
\u00zz
\uffff
\ufdd0`.slice(1)

const names = [
  ...texts.split('\n'),
  ...strings.split('\n').flatMap((text) => [`{"driver":"file","filename":"${text}"}`]),
  ...["a\\'b", 'a"b', 'a\\"b'].map((text) => `{'driver':'file','filename':'${text}'}`),
].map((text) => `json:${text}`)

describe.skipIf(!existsSync('/usr/bin/qemu-img'))('a json: name', () => {
  test.each(names)('%s is read as by qemu-img', async (name) => {
    const real = spawnSync('qemu-img', ['info', name], { encoding: 'utf8' })
    const terminal = capturedTerminal('qemu-img')
    const code = await runProgram(runImg, ['info', name], terminal)
    expect({ code, err: terminal.stderr, size: sizeIn(terminal.stdout) }).toEqual({
      code: real.status,
      err: real.stderr,
      size: sizeIn(real.stdout),
    })
  })
})

function sizeIn(info: string): string | undefined {
  return /^virtual size: .*$/m.exec(info)?.[0]
}
