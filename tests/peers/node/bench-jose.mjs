// How fast Node's libraries sign and verify the same tokens as bench/jose.py, which starts this.
//
// The first line of standard input is a JSON list of {alg, token, jwk, private, public, issuer, audience}; it is answered
// with a list of [operation, alg, library]. Each further line, "index number", is answered with the seconds that one
// call took in a batch of that many, once the compiler is warm.
import { createSigner, createVerifier } from 'fast-jwt'
import * as jose from 'jose'
import jsonwebtoken from 'jsonwebtoken'
import { createPrivateKey, createPublicKey, createSecretKey } from 'node:crypto'
import { createInterface } from 'node:readline'

const WARM = 1000

async function seconds({ work, asynchronous }, number) {
  const began = process.hrtime.bigint()
  if (asynchronous) for (let i = 0; i < number; i++) await work()
  else for (let i = 0; i < number; i++) work()
  return Number(process.hrtime.bigint() - began) / 1e9 / number
}

const works = []
const add = async (operation, alg, library, work, asynchronous = false) => {
  works.push({ operation, alg, library, work, asynchronous })
  await seconds(works.at(-1), WARM)
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const { value: jobs } = await lines.next()

for (const { alg, token, jwk, private: pem, public: half, issuer, audience } of JSON.parse(jobs)) {
  const secret = jwk.k && Buffer.from(jwk.k, 'base64url')
  const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'))
  const signing = secret ? createSecretKey(secret) : createPrivateKey(pem)
  const checking = secret ? createSecretKey(secret) : createPublicKey(half)
  const rules = { algorithms: [alg], issuer, audience }
  const fast = {
    key: secret ?? half,
    algorithms: [alg],
    allowedIss: issuer,
    allowedAud: audience,
    requiredClaims: ['exp', 'iss', 'aud'],
  }
  const plain = createVerifier({ ...fast, cache: false })
  const cached = createVerifier({ ...fast, cache: true })
  const sign = createSigner({ key: secret ?? pem, algorithm: alg, kid: 'bench' })
  await add('verify', alg, 'fast-jwt', () => plain(token))
  await add('verify again', alg, 'fast-jwt', () => cached(token))
  await add('verify', alg, 'npm jose', () => jose.jwtVerify(token, checking, rules), true)
  await add('sign', alg, 'fast-jwt', () => sign(claims))
  await add(
    'sign',
    alg,
    'npm jose',
    () => new jose.SignJWT(claims).setProtectedHeader({ alg, kid: 'bench' }).sign(signing),
    true,
  )
  if (alg !== 'EdDSA') {
    await add('verify', alg, 'jsonwebtoken', () => jsonwebtoken.verify(token, checking, rules))
    await add('sign', alg, 'jsonwebtoken', () => jsonwebtoken.sign(claims, signing, { algorithm: alg, keyid: 'bench' }))
  }
}
console.log(JSON.stringify(works.map(({ operation, alg, library }) => [operation, alg, library])))

for await (const line of lines) {
  const [index, number] = line.split(' ').map(Number)
  console.log(await seconds(works[index], number))
}
