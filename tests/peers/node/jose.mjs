// Sign and verify tokens with the libraries Node programs use: jose, jsonwebtoken, fast-jwt.
//
// Standard input: a JSON list of jobs {library, operation, alg, jwk, publicPem, privatePem, secret, token, claims,
// issuer, audience}. Standard output: a list of {ok, token | claims} or {ok: false, error}, in the same order.
import { createSigner, createVerifier } from 'fast-jwt'
import * as jose from 'jose'
import jsonwebtoken from 'jsonwebtoken'

const secretOf = (job) => Buffer.from(job.secret, 'base64')

const libraries = {
  jose: {
    sign: async (job) =>
      new jose.SignJWT(job.claims)
        .setProtectedHeader({ alg: job.alg, kid: job.jwk.kid })
        .sign(await jose.importJWK(job.jwk, job.alg)),
    verify: async (job) => {
      const { d, p, q, dp, dq, qi, ...half } = job.jwk
      const options = { algorithms: [job.alg], issuer: job.issuer, audience: job.audience }
      return (await jose.jwtVerify(job.token, await jose.importJWK(half, job.alg), options)).payload
    },
  },
  jsonwebtoken: {
    sign: async (job) =>
      jsonwebtoken.sign(job.claims, job.secret ? secretOf(job) : job.privatePem, {
        algorithm: job.alg,
        keyid: job.jwk.kid,
      }),
    verify: async (job) =>
      jsonwebtoken.verify(job.token, job.secret ? secretOf(job) : job.publicPem, {
        algorithms: [job.alg],
        issuer: job.issuer,
        audience: job.audience,
      }),
  },
  'fast-jwt': {
    sign: async (job) =>
      createSigner({ key: job.secret ? secretOf(job) : job.privatePem, algorithm: job.alg, kid: job.jwk.kid })(
        job.claims,
      ),
    verify: async (job) =>
      createVerifier({
        key: job.secret ? secretOf(job) : job.publicPem,
        algorithms: [job.alg],
        allowedIss: job.issuer,
        allowedAud: job.audience,
        requiredClaims: ['exp', 'iss', 'aud'],
      })(job.token),
  },
}

let input = ''
for await (const part of process.stdin) input += part
const answers = []
for (const job of JSON.parse(input)) {
  try {
    const found = await libraries[job.library][job.operation](job)
    answers.push(job.operation === 'sign' ? { ok: true, token: found } : { ok: true, claims: found })
  } catch (error) {
    answers.push({ ok: false, error: String(error.message) })
  }
}
process.stdout.write(JSON.stringify(answers))
