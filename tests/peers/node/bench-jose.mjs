// How fast Node's libraries sign and verify the same tokens as bench/jose.py, which starts this.
//
// Standard input: a JSON list of {alg, token, jwk, private, public, issuer, audience}. Standard output: a list of
// {operation, alg, library, seconds}. Short batches, many rounds, the best one counts.
import { createSigner, createVerifier } from 'fast-jwt'
import * as jose from 'jose'
import jsonwebtoken from 'jsonwebtoken'
import { createPrivateKey, createPublicKey, createSecretKey } from 'node:crypto'

const ROUNDS = 60
const BATCH = 0.003

async function seconds(work, asynchronous) {
  const time = async (number) => {
    const began = process.hrtime.bigint()
    if (asynchronous) for (let i = 0; i < number; i++) await work()
    else for (let i = 0; i < number; i++) work()
    return Number(process.hrtime.bigint() - began) / 1e9 / number
  }
  for (let i = 0; i < 20; i++) await time(50) // the compiler warms up
  const number = Math.max(1, Math.floor(BATCH / (await time(50))))
  let best = 1e9
  for (let i = 0; i < ROUNDS; i++) best = Math.min(best, await time(number))
  return best
}

let input = ''
for await (const part of process.stdin) input += part
const rows = []
const measure = async (operation, alg, library, work, asynchronous = false) =>
  rows.push({ operation, alg, library, seconds: await seconds(work, asynchronous) })

for (const { alg, token, jwk, private: pem, public: half, issuer, audience } of JSON.parse(input)) {
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
  await measure('verify', alg, 'fast-jwt', () => plain(token))
  await measure('verify again', alg, 'fast-jwt', () => cached(token))
  await measure('verify', alg, 'npm jose', () => jose.jwtVerify(token, checking, rules), true)
  await measure('sign', alg, 'fast-jwt', () => sign(claims))
  await measure(
    'sign',
    alg,
    'npm jose',
    () => new jose.SignJWT(claims).setProtectedHeader({ alg, kid: 'bench' }).sign(signing),
    true,
  )
  if (alg !== 'EdDSA') {
    await measure('verify', alg, 'jsonwebtoken', () => jsonwebtoken.verify(token, checking, rules))
    await measure('sign', alg, 'jsonwebtoken', () => jsonwebtoken.sign(claims, signing, { algorithm: alg, keyid: 'bench' }))
  }
}
process.stdout.write(JSON.stringify(rows))
