"""Debtors who look real: names with accents and apostrophes, accounts and identifiers with right check digits."""

from random import Random

CITIES = {
    "ES": ("Madrid", "A Coruña", "València", "Sevilla", "Logroño"),
    "IT": ("Roma", "Forlì", "L'Aquila", "Torino", "Bari"),
    "PL": ("Łódź", "Kraków", "Gdańsk", "Wrocław", "Białystok"),
}
_GIVEN = {
    "ES": ("Lucía", "Íñigo", "María José", "Begoña", "Óscar", "Núria", "Andrés"),
    "IT": ("Niccolò", "Giulia", "Matteo", "Chiara", "Désirée", "Luca", "Ilaria"),
    "PL": ("Łukasz", "Małgorzata", "Agnieszka", "Paweł", "Zofia", "Świętosława", "Michał"),
}
_FAMILY = {
    "ES": ("García", "Peña", "O'Donnell", "Muñoz", "Ibáñez", "de la Cruz", "Núñez"),
    "IT": ("D'Angelo", "Rossi", "Esposito", "Lo Presti", "De Luca", "Nicolò", "Bianchi"),
    "PL": ("Wójcik", "Kowalska", "Dąbrowski", "Żółć", "Szymańska", "Nowak-Zielińska", "Król"),
}
_COMPANIES = {
    "ES": ('Talleres "El Sol", S.L.', "Panadería Núñez; e Hijos"),
    "IT": ("Officine D'Angelo S.r.l.", 'Trattoria "da Niccolò", S.n.c.'),
    "PL": ("Młyn Żuławy sp. z o.o.", 'PHU "Świt", Gdańsk'),
}
_BANK_DIGITS = {"ES": 20, "IT": 23, "PL": 24}  # [characters after the two check digits]
_PLAIN = str.maketrans("áàéèíìóòúùñçąćęłńśźżÁÉÍÓÚŁŚŻ", "aaeeiioouuncacelnszzAEIOULSZ")


def name(random: Random, country: str, kind: str) -> str:
    if kind == "company":
        return random.choice(_COMPANIES[country])
    return f"{random.choice(_GIVEN[country])} {random.choice(_FAMILY[country])}"


def email(random: Random, full_name: str, country: str) -> str:
    plain = full_name.translate(_PLAIN).lower().replace(" ", ".")
    local = "".join(c for c in plain if c.isascii() and c not in "'\",;")
    return f"{local}{random.randrange(10_000)}@example.{country.lower()}"


def iban(random: Random, country: str) -> str:
    account = "".join(str(random.randrange(10)) for _ in range(_BANK_DIGITS[country]))
    if country == "IT":
        account = random.choice("ABCDEFGHKLMNPRST") + account[1:]
    digits = "".join(str(int(c, 36)) for c in f"{account}{country}00")
    return f"{country}{98 - int(digits) % 97:02d}{account}"


def national_id(random: Random, country: str) -> str:
    if country == "ES":
        number = random.randrange(10_000_000, 99_999_999)
        return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"
    if country == "IT":
        letters = "".join(random.choice("BCDFGLMNPRST") for _ in range(6))
        return f"{letters}{random.randrange(40, 99):02d}{random.choice('ABCDEHLMPRST')}{random.randrange(10, 29)}H501X"
    digits = [random.randrange(10) for _ in range(10)]
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)
    check = -sum(d * w for d, w in zip(digits, weights, strict=True)) % 10
    return "".join(str(d) for d in [*digits, check])
